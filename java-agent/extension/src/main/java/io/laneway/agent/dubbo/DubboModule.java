package io.laneway.agent.dubbo;

import io.laneway.agent.RoutingModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Arrays;
import java.util.List;

/** Dubbo's clusters, which choose whom a call goes to, over whatever protocol. */
public class DubboModule extends RoutingModule {
    /** Called by the agent, once. */
    public DubboModule() {
        super("laneway-dubbo", ClusterInstrumentation.CLUSTER, "io.laneway.agent.dubbo.Choosing", "io.laneway.agent.dubbo.Choosing$Offered",
                "io.laneway.agent.dubbo.Choosing$Part", "io.laneway.agent.dubbo.Answering");
    }

    @Override
    protected List<TypeInstrumentation> adapters() {
        return Arrays.asList(new ClusterInstrumentation(), InvokerInstrumentation.ofCallers(), InvokerInstrumentation.ofProviders());
    }
}
