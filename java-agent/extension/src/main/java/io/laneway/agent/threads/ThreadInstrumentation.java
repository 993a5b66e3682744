package io.laneway.agent.threads;

import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.namedOneOf;
import static net.bytebuddy.matcher.ElementMatchers.takesNoArguments;

import io.laneway.agent.bridge.Threads;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;

/**
 * {@code Thread.start()}, of platform threads and of virtual ones. Executors with a virtual thread for each task start them
 * otherwise: those tasks have their context from OpenTelemetry's agent.
 */
final class ThreadInstrumentation implements TypeInstrumentation {
    static final String THREAD = "java.lang.Thread";
    static final String VIRTUAL_THREAD = "java.lang.VirtualThread";

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return namedOneOf(THREAD, VIRTUAL_THREAD);
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(named("start").and(takesNoArguments()), ThreadInstrumentation.class.getName() + "$StartAdvice");
    }

    /** Put into the method. */
    public static class StartAdvice {
        /** Before. */
        @Advice.OnMethodEnter(suppress = Throwable.class)
        public static void enter(@Advice.This Thread thread) {
            Threads.starting(thread);
        }
    }
}
