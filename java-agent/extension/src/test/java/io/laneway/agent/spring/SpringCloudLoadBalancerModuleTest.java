package io.laneway.agent.spring;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

class SpringCloudLoadBalancerModuleTest {
    private static final Logger SAYS_SO = Logger.getLogger("io.laneway.agent");

    /** As without a folder for temporary files: here nothing can be put into the bootstrap class loader either. */
    @Test
    void where_the_bridge_cannot_be_put_the_agent_around_it_starts_all_the_same() {
        SAYS_SO.setUseParentHandlers(false);
        SpringCloudLoadBalancerModule module = new SpringCloudLoadBalancerModule();
        assertTrue(module.typeInstrumentations().isEmpty());
        assertTrue(module.getAdditionalHelperClassNames().isEmpty());
    }
}
