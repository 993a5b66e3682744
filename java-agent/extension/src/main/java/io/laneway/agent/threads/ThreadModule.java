package io.laneway.agent.threads;

import io.laneway.agent.AdapterModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import net.bytebuddy.matcher.ElementMatcher;
import net.bytebuddy.matcher.ElementMatchers;

/** The JVM's own threads and queues. */
public class ThreadModule extends AdapterModule {
    /** Whose classes' methods are added to. */
    public static final List<String> TRANSFORMED = transformed();

    private static List<String> transformed() {
        List<String> all = new ArrayList<>(Arrays.asList(QueueInstrumentation.QUEUES));
        all.add(ThreadInstrumentation.THREAD);
        all.add(ThreadInstrumentation.VIRTUAL_THREAD);
        return Collections.unmodifiableList(all);
    }

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
