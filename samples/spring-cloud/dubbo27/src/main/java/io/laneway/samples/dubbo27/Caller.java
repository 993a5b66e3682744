package io.laneway.samples.dubbo27;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.laneway.samples.contract.ServiceC;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;

/** {@code GET /d} calls C by Dubbo 2.7, and says where it is and what it heard. */
public final class Caller {
    private static final int THREADS = 4;

    private Caller() {}

    /** {@code --host=ADDRESS --nacos=ADDRESS:PORT}. */
    public static void main(String[] arguments) throws IOException {
        Map<String, String> settings = new HashMap<>();
        for (String argument : arguments) {
            String[] parts = argument.replaceFirst("^--", "").split("=", 2);
            settings.put(parts[0], parts.length > 1 ? parts[1] : "");
        }
        ServiceC c = reference(settings.get("nacos"));
        HttpServer server = HttpServer.create(new InetSocketAddress(settings.get("host"), 8080), 0);
        server.setExecutor(Executors.newFixedThreadPool(THREADS, Caller::thread));
        server.createContext("/d", exchange -> answer(exchange, "D[" + settings.get("host") + "] -> ", c));
        server.start();
    }

    /** Since JDK 19 the server's own threads give others no class loader, by which Dubbo finds its parts. */
    private static Thread thread(Runnable task) {
        Thread thread = new Thread(task);
        thread.setContextClassLoader(Caller.class.getClassLoader());
        return thread;
    }

    private static ServiceC reference(String nacos) {
        ApplicationConfig application = new ApplicationConfig("dubbo-d");
        application.setQosEnable(false);
        RegistryConfig registry = new RegistryConfig("nacos://" + nacos);
        registry.setUseAsConfigCenter(false);
        registry.setUseAsMetadataCenter(false);
        ReferenceConfig<ServiceC> reference = new ReferenceConfig<>();
        reference.setApplication(application);
        reference.setRegistry(registry);
        reference.setInterface(ServiceC.class);
        reference.setProtocol("dubbo");
        reference.setCheck(false);
        return reference.get();
    }

    private static void answer(HttpExchange exchange, String me, ServiceC c) throws IOException {
        int status = 200;
        String text;
        try {
            text = me + c.c();
        } catch (RuntimeException failed) {
            status = 502;
            text = me + failed.getMessage();
        }
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
