package io.laneway.agent.dubbo;

import io.laneway.agent.bridge.Awaited;
import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Router;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.Result;
import org.apache.dubbo.rpc.RpcException;

/**
 * How calls of Dubbo end, for the figures. It is put beside an application's own classes. Whatever fails here leaves the call as it
 * is, in no figure.
 */
public final class Answering {
    private static final String ADAPTER = "dubbo";

    private Answering() {}

    /** A call to where this leads; {@code null} where it is not counted. */
    public static Awaited calling(Invoker<?> invoker) {
        Router router = Bridge.router();
        try {
            URL url = router == null ? null : invoker.getUrl();
            return url == null || url.getHost() == null ? null : router.calling(url.getHost(), url.getPort());
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return null;
        }
    }

    /** A call that has come; {@code null} where it is not counted. */
    public static Awaited serving() {
        Router router = Bridge.router();
        try {
            return router == null ? null : router.serving();
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return null;
        }
    }

    /** It has ended: with a result, whose answer may come later, or by being thrown out of. */
    public static void ended(Awaited awaited, Result result, Throwable thrown) {
        if (awaited == null) {
            return;
        }
        if (result == null) {
            awaited.ended(answer(thrown));
        } else {
            result.whenCompleteWithContext((now, error) ->
                    awaited.ended(answer(error == null && now != null && now.hasException() ? now.getException() : error)));
        }
    }

    /** What Dubbo says itself is that nobody answered; all else is the application's. */
    private static Awaited.Answer answer(Throwable error) {
        if (error == null) {
            return Awaited.Answer.WELL;
        }
        return error instanceof RpcException && !((RpcException) error).isBiz() ? Awaited.Answer.NONE : Awaited.Answer.ERROR;
    }
}
