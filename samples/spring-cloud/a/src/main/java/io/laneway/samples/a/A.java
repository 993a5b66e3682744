package io.laneway.samples.a;

import io.laneway.samples.contract.ServiceB;
import java.time.Duration;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.dubbo.config.annotation.DubboReference;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** {@code GET /a} calls B by RestTemplate; {@code /a/feign}, {@code webclient}, {@code reactive}, {@code dubbo} and {@code triple} by what they name. */
@RestController
public class A {
    private static final Duration PAUSE = Duration.ofMillis(1);

    private final String me;
    private final WebClient web;
    private final Map<String, Supplier<String>> next;

    @DubboReference(protocol = "dubbo", providedBy = "dubbo-b", check = false)
    private ServiceB dubbo;

    @DubboReference(protocol = "tri", providedBy = "dubbo-b", check = false)
    private ServiceB triple;

    /** The tag is shown, and means nothing here. */
    A(@Value("${alicloud.service.tag:}") String tag, @Value("${host}") String host, RestTemplate restTemplate,
            WebClient.Builder webClient, Feign feign) {
        me = "A" + tag + "[" + host + "][config=base]";
        web = webClient.build();
        next = Map.of(
                "rest", () -> restTemplate.getForObject("http://sc-B/b", String.class),
                "feign", feign::call,
                "webclient", () -> web.get().uri("http://sc-B/b/webclient").retrieve().bodyToMono(String.class).block(),
                "dubbo", () -> dubbo.b("dubbo"),
                "triple", () -> triple.b("triple"));
    }

    @GetMapping("/a")
    String a() {
        return a("rest");
    }

    @GetMapping("/a/{by}")
    String a(@PathVariable("by") String by) {
        return me + " -> " + next.get(by).get();
    }

    /** The same by WebClient, on threads of Reactor's: none waits. */
    @GetMapping("/a/reactive")
    Mono<String> reactive() {
        return Mono.delay(PAUSE)
                .then(Mono.defer(() -> web.get().uri("http://sc-B/b/reactive").retrieve().bodyToMono(String.class)))
                .publishOn(Schedulers.parallel())
                .map(heard -> me + " -> " + heard);
    }

    /** B by Feign. */
    @FeignClient("sc-B")
    interface Feign {
        /** As {@code GET /b/feign}. */
        @GetMapping("/b/feign")
        String call();
    }
}
