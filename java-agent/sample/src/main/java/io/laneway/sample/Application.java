package io.laneway.sample;

import static java.util.Map.entry;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.cloud.loadbalancer.annotation.LoadBalancerClient;
import org.springframework.cloud.loadbalancer.annotation.LoadBalancerClients;
import org.springframework.cloud.openfeign.EnableFeignClients;
import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;
import org.springframework.web.reactive.function.client.WebClient;

/**
 * Calls {@code sc-B} by the client that the path names, and answers with what it heard: {@code A -> B[…]}. Its registry does
 * not know {@code sc-C}; for {@code sc-D} it has a load balancer of its own.
 */
@SpringBootApplication
@EnableFeignClients
@RestController
public class Application {
    static final String URL = "http://sc-B/b";

    private final Map<String, Supplier<String>> clients;

    /** {@code more}: by clients that not every Spring has. */
    Application(RestTemplate restTemplate, WebClient.Builder webClient, ServiceB feign, Map<String, Supplier<String>> more) {
        WebClient web = webClient.build();
        Supplier<String> byRestTemplate = () -> restTemplate.getForObject(URL, String.class);
        Workers workers = new Workers();
        clients = new HashMap<>(more);
        clients.putAll(Map.ofEntries(
                entry("rest-template", byRestTemplate),
                entry("web-client", () -> web.get().uri(URL).retrieve().bodyToMono(String.class).block()),
                entry("feign", feign::call),
                entry("unregistered", () -> restTemplate.getForObject("http://sc-C/c", String.class)),
                entry("entered", () -> restTemplate.getForObject("http://sc-E/e", String.class)),
                entry("own-balancer", () -> restTemplate.getForObject("http://sc-D/d", String.class)),
                entry("async", () -> CompletableFuture.supplyAsync(byRestTemplate).join()),
                entry("thread", () -> Workers.onThread(byRestTemplate)),
                entry("thread-of-thread", () -> Workers.onThreadOfThread(feign::call)),
                entry("pool", () -> workers.inPool(byRestTemplate)),
                entry("fork-join-pool", () -> workers.inForkJoinPool(byRestTemplate)),
                entry("timer", () -> workers.byTimer(byRestTemplate)),
                entry("worker", () -> workers.byWorker(byRestTemplate))));
    }

    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    @GetMapping("/a/{client}")
    String call(@PathVariable("client") String client) {
        return "A -> " + clients.get(client).get();
    }

    @GetMapping("/ready")
    String ready() {
        return "A";
    }

    /** {@code sc-B} by Feign. */
    @FeignClient("sc-B")
    interface ServiceB {
        /** Its one path. */
        @GetMapping("/b")
        String call();
    }

    /** Clients that find instances of services by name. */
    @Configuration
    @LoadBalancerClients(@LoadBalancerClient(name = "sc-D", configuration = TakesTurns.class))
    static class Clients {
        @Bean
        @LoadBalanced
        RestTemplate restTemplate() {
            return new RestTemplate();
        }

        @Bean
        @LoadBalanced
        WebClient.Builder webClient() {
            return WebClient.builder();
        }
    }
}
