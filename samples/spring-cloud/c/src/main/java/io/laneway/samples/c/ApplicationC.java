package io.laneway.samples.c;

import io.laneway.samples.contract.ServiceC;
import org.apache.dubbo.config.annotation.DubboService;
import org.apache.dubbo.config.spring.context.annotation.EnableDubbo;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** The end of the chain: says where it is, by HTTP and by Dubbo. */
@SpringBootApplication
@EnableDubbo
public class ApplicationC {
    public static void main(String[] arguments) {
        SpringApplication.run(ApplicationC.class, arguments);
    }

    /** By HTTP and by Dubbo. */
    @RestController
    @DubboService
    public static class C implements ServiceC {
        private final String me;

        /** The tag is shown, and means nothing here. */
        C(@Value("${alicloud.service.tag:}") String tag, @Value("${host}") String host) {
            me = "C" + tag + "[" + host + "]";
        }

        @Override
        @GetMapping({"/c", "/c/{by}"})
        public String c() {
            return me;
        }
    }
}
