package io.laneway.agent.threads;

import io.laneway.agent.AdapterModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Arrays;
import java.util.List;
import net.bytebuddy.matcher.ElementMatcher;
import net.bytebuddy.matcher.ElementMatchers;

/** The JVM's own threads and queues. */
public class ThreadModule extends AdapterModule {
    /** Called by the agent, once. */
    public ThreadModule() {
        super("laneway-threads", ThreadInstrumentation.THREAD);
    }

    @Override
    public ElementMatcher.Junction<ClassLoader> classLoaderMatcher() {
        return ElementMatchers.any();
    }

    @Override
    protected List<TypeInstrumentation> adapters() {
        return Arrays.asList(new ThreadInstrumentation(), new QueueInstrumentation());
    }
}
