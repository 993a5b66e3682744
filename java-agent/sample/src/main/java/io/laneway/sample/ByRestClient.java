package io.laneway.sample;

import java.util.function.Supplier;
import org.springframework.cloud.client.loadbalancer.LoadBalanced;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.web.client.RestClient;

/** The client that Spring has since 6.1. */
@Configuration
class ByRestClient {
    @Bean
    @LoadBalanced
    RestClient.Builder restClientBuilder() {
        return RestClient.builder();
    }

    @Bean("rest-client")
    Supplier<String> byRestClient(@LoadBalanced RestClient.Builder builder) {
        RestClient client = builder.build();
        return () -> client.get().uri(Application.URL).retrieve().body(String.class);
    }
}
