package io.laneway.messages;

import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;

/**
 * {@code GET /a/{broker}} publishes a message there, and answers with what its listener heard of {@code sc-B}: {@code A -> B[…]}. Request
 * and listener know of each other by what the message says.
 */
@SpringBootApplication
@RestController
public class Application {
    private static final int ANSWERED_SECONDS = 30;

    private final Map<String, Publisher> publishers;
    private final Answers answers;

    Application(Map<String, Publisher> publishers, Answers answers) {
        this.publishers = publishers;
        this.answers = answers;
    }

    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    @GetMapping("/a/{broker}")
    String publish(@PathVariable("broker") String broker) throws Exception {
        String message = UUID.randomUUID().toString();
        CompletableFuture<String> answer = answers.of(message);
        publishers.get(broker).publish(message);
        return "A -> " + answer.get(ANSWERED_SECONDS, TimeUnit.SECONDS);
    }

    /** Of one kind of broker. */
    interface Publisher {
        /** To the topic that its listener has. */
        void publish(String message) throws Exception;
    }

    /** What listeners have heard, by message. */
    @Component
    static class Answers {
        private final Map<String, CompletableFuture<String>> waiting = new ConcurrentHashMap<>();
        private final RestTemplate restTemplate;

        Answers(RestTemplate restTemplate) {
            this.restTemplate = restTemplate;
        }

        CompletableFuture<String> of(String message) {
            return waiting.computeIfAbsent(message, unused -> new CompletableFuture<>());
        }

        /** A listener has this message. */
        void call(String message) {
            CompletableFuture<String> answer = waiting.remove(message);
            // Of an earlier life of the application.
            if (answer != null) {
                answer.complete(restTemplate.getForObject("http://sc-B/b", String.class));
            }
        }
    }

    @Configuration
    static class Clients {
        @Bean
        @LoadBalanced
        RestTemplate restTemplate() {
            return new RestTemplate();
        }
    }
}
