package io.laneway.samples.b;

import io.laneway.samples.contract.ServiceB;
import io.laneway.samples.contract.ServiceC;
import java.time.Duration;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.dubbo.config.annotation.DubboReference;
import org.apache.dubbo.config.annotation.DubboService;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestTemplate;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** {@code GET /b} calls C by RestTemplate; {@code /b/feign}, {@code webclient}, {@code reactive}, {@code dubbo} and {@code triple} by what they name. */
@RestController
@DubboService
public class B implements ServiceB {
    private static final Duration PAUSE = Duration.ofMillis(1);

    private final String me;
    private final WebClient web;
    private final Map<String, Supplier<String>> next;

    @DubboReference(protocol = "dubbo", providedBy = "dubbo-c", check = false)
    private ServiceC dubbo;

    @DubboReference(protocol = "tri", providedBy = "dubbo-c", check = false)
    private ServiceC triple;

    /** The tag is shown, and means nothing here. */
    B(@Value("${alicloud.service.tag:}") String tag, @Value("${host}") String host, RestTemplate restTemplate,
            WebClient.Builder webClient, Feign feign) {
        me = "B" + tag + "[" + host + "]";
        web = webClient.build();
        next = Map.of(
                "rest", () -> restTemplate.getForObject("http://sc-C/c", String.class),
                "feign", feign::call,
                "webclient", () -> web.get().uri("http://sc-C/c/webclient").retrieve().bodyToMono(String.class).block(),
                "dubbo", () -> dubbo.c(),
                "triple", () -> triple.c());
    }

    @GetMapping("/b")
    String b() {
        return b("rest");
    }

    @Override
    @GetMapping("/b/{by}")
    public String b(@PathVariable("by") String by) {
        return me + " -> " + next.get(by).get();
    }

    /** The same by WebClient, on threads of Reactor's: none waits. */
    @GetMapping("/b/reactive")
    Mono<String> reactive() {
        return Mono.delay(PAUSE)
                .then(Mono.defer(() -> web.get().uri("http://sc-C/c/reactive").retrieve().bodyToMono(String.class)))
                .publishOn(Schedulers.parallel())
                .map(heard -> me + " -> " + heard);
    }

    /** C by Feign. */
    @FeignClient("sc-C")
    interface Feign {
        /** As {@code GET /c/feign}. */
        @GetMapping("/c/feign")
        String call();
    }
}
