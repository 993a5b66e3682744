package io.laneway.samples.a;

import io.laneway.samples.contract.ServiceB;
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

/** {@code GET /a} calls B by RestTemplate; {@code /a/feign}, {@code webclient}, {@code dubbo} and {@code triple} by what they name. */
@RestController
public class A {
    private final String me;
    private final Map<String, Supplier<String>> next;

    @DubboReference(protocol = "dubbo", providedBy = "dubbo-b", check = false)
    private ServiceB dubbo;

    @DubboReference(protocol = "tri", providedBy = "dubbo-b", check = false)
    private ServiceB triple;

    /** The tag is shown, and means nothing here. */
    A(@Value("${alicloud.service.tag:}") String tag, @Value("${host}") String host, RestTemplate restTemplate,
            WebClient.Builder webClient, Feign feign) {
        me = "A" + tag + "[" + host + "][config=base]";
        WebClient web = webClient.build();
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

    /** B by Feign. */
    @FeignClient("sc-B")
    interface Feign {
        /** As {@code GET /b/feign}. */
        @GetMapping("/b/feign")
        String call();
    }
}
