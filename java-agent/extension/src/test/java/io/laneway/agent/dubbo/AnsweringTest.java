package io.laneway.agent.dubbo;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.laneway.agent.bridge.Awaited;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.apache.dubbo.rpc.AppResponse;
import org.apache.dubbo.rpc.AsyncRpcResult;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.RpcInvocation;
import org.junit.jupiter.api.Test;

class AnsweringTest {
    private final List<Awaited.Answer> answers = new ArrayList<>();

    private void ended(CompletableFuture<AppResponse> response) {
        Answering.ended(answers::add, new AsyncRpcResult(response, new RpcInvocation()), null);
    }

    @Test
    void an_answer_counts_when_it_is_there() {
        CompletableFuture<AppResponse> later = new CompletableFuture<>();
        ended(later);
        assertEquals(Collections.emptyList(), answers);
        later.complete(new AppResponse("C"));
        ended(CompletableFuture.completedFuture(new AppResponse(new IllegalStateException("the application's"))));
        ended(CompletableFuture.completedFuture(new AppResponse(new RpcException(RpcException.TIMEOUT_EXCEPTION, "late"))));
        Answering.ended(answers::add, null, new RpcException(RpcException.NETWORK_EXCEPTION, "closed"));
        assertEquals(Arrays.asList(Awaited.Answer.WELL, Awaited.Answer.ERROR, Awaited.Answer.NONE, Awaited.Answer.NONE), answers);
    }
}
