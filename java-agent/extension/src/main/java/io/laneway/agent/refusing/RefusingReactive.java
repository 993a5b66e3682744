package io.laneway.agent.refusing;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Refusal;
import io.laneway.agent.bridge.Router;
import java.nio.charset.StandardCharsets;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.server.reactive.ServerHttpResponse;
import reactor.core.publisher.Mono;

/**
 * Answers requests that no lane leads to this instance, before an application of WebFlux sees them. It is put beside an
 * application's own classes. Whatever fails here leaves the request to the application.
 */
public final class RefusingReactive {
    private static final String ADAPTER = "spring-webflux";

    private RefusingReactive() {}

    /** The answer to the request that is being served; {@code null} where it is the application's to give. */
    public static Mono<Void> answer(ServerHttpResponse response) {
        Router router = Bridge.router();
        Refusal refusal = router == null ? null : router.refusal();
        if (refusal == null) {
            return null;
        }
        try {
            // Not as an HttpStatus: which numbers that has, and where it is asked for, changes from Spring to Spring.
            response.setRawStatusCode(refusal.status());
            if (refusal.isChosenAgain) {
                response.getHeaders().set(Refusal.FIELD, Refusal.MISROUTED);
            }
            response.getHeaders().set("content-type", "text/plain;charset=utf-8");
            DataBuffer body = response.bufferFactory().wrap((refusal.reason + "\n").getBytes(StandardCharsets.UTF_8));
            return response.writeWith(Mono.just(body));
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return null;
        }
    }
}
