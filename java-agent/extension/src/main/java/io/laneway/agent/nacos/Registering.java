package io.laneway.agent.nacos;

import com.alibaba.nacos.api.naming.pojo.Instance;
import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.bridge.Router;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/**
 * What Nacos is told of an instance: all that the application tells, and what the process is started with. It is put
 * beside an application's own classes. Whatever fails here leaves the registration as it is.
 */
public final class Registering {
    private static final String ADAPTER = "nacos-client";

    private Registering() {}

    /** Of each. */
    public static void complete(List<Instance> instances) {
        if (instances != null) {
            instances.forEach(Registering::complete);
        }
    }

    /** Metadata are replaced, never changed: they may be shared, or not be changed at all. */
    public static void complete(Instance instance) {
        Router router = Bridge.router();
        if (router == null || instance == null) {
            return;
        }
        try {
            Map<String, String> told = instance.getMetadata();
            Map<String, String> metadata = told == null ? Collections.<String, String>emptyMap() : told;
            Map<String, String> complete = router.registration(metadata);
            if (complete != metadata) {
                instance.setMetadata(complete);
            }
        } catch (Throwable error) {
            router.failed(ADAPTER, error);
        }
    }
}
