package io.laneway.agent;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.dubbo.DubboModule;
import io.laneway.agent.nacos.NacosClientModule;
import io.laneway.agent.spring.SpringCloudLoadBalancerModule;
import java.util.Arrays;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

class AdapterModuleTest {
    private static final Logger SAYS_SO = Logger.getLogger("io.laneway.agent");

    /** As without a folder for temporary files: here nothing can be put into the bootstrap class loader either. */
    @Test
    void where_the_bridge_cannot_be_put_the_agent_around_it_starts_all_the_same() {
        SAYS_SO.setUseParentHandlers(false);
        for (AdapterModule module : Arrays.asList(new DubboModule(), new NacosClientModule(), new SpringCloudLoadBalancerModule())) {
            assertTrue(module.typeInstrumentations().isEmpty());
            assertTrue(module.getAdditionalHelperClassNames().isEmpty());
        }
    }
}
