package io.laneway.agent.refusing;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Refusal;
import io.laneway.agent.bridge.Router;
import java.io.OutputStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;

/**
 * Answers requests that no lane leads to this instance, before a filter or a servlet sees them. It is put beside an
 * application's own classes, and names none of them: servlets are in one package or in another. Whatever fails here leaves the
 * request to the application.
 */
public final class Refusing {
    private static final String ADAPTER = "servlet";
    private static final String[] PACKAGES = {"jakarta.servlet", "javax.servlet"};

    private Refusing() {}

    /** Whether the request that is being served has been answered here. */
    public static boolean isAnswered(Object response) {
        Router router = Bridge.router();
        Refusal refusal = router == null ? null : router.refusal();
        if (refusal == null) {
            return false;
        }
        try {
            Class<?> type = type(response);
            byte[] body = (refusal.reason + "\n").getBytes(StandardCharsets.UTF_8);
            method(type, "setStatus", int.class).invoke(response, refusal.status());
            if (refusal.isChosenAgain) {
                method(type, "setHeader", String.class, String.class).invoke(response, Refusal.FIELD, Refusal.MISROUTED);
            }
            method(type, "setContentType", String.class).invoke(response, "text/plain;charset=utf-8");
            method(type, "setContentLength", int.class).invoke(response, body.length);
            ((OutputStream) method(type, "getOutputStream").invoke(response)).write(body);
            return true;
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
            return false;
        }
    }

    private static Method method(Class<?> type, String name, Class<?>... arguments) throws NoSuchMethodException {
        return type.getMethod(name, arguments);
    }

    /** The interface: an application's own class may be none that others may call. */
    private static Class<?> type(Object response) throws ClassNotFoundException {
        for (String servlets : PACKAGES) {
            try {
                Class<?> type = Class.forName(servlets + ".http.HttpServletResponse", false, response.getClass().getClassLoader());
                if (type.isInstance(response)) {
                    return type;
                }
            } catch (ClassNotFoundException other) {
                // The other one, then.
            }
        }
        throw new ClassNotFoundException(response.getClass().getName() + " is no response of HTTP");
    }
}
