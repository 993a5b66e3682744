package io.laneway.agent.threads;

import static net.bytebuddy.matcher.ElementMatchers.isPublic;
import static net.bytebuddy.matcher.ElementMatchers.namedOneOf;
import static net.bytebuddy.matcher.ElementMatchers.takesArguments;

import io.laneway.agent.bridge.Threads;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;

/** Where workers look for work: what of the JDK's {@code BlockingQueue}s takes, and waits. */
final class QueueInstrumentation implements TypeInstrumentation {
    private static final String PACKAGE = "java.util.concurrent.";
    static final String[] QUEUES = {
        PACKAGE + "ArrayBlockingQueue", PACKAGE + "DelayQueue", PACKAGE + "LinkedBlockingDeque", PACKAGE + "LinkedBlockingQueue",
        PACKAGE + "LinkedTransferQueue", PACKAGE + "PriorityBlockingQueue", PACKAGE + "SynchronousQueue",
    };

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return namedOneOf(QUEUES);
    }

    @Override
    public void transform(TypeTransformer transformer) {
        // Who looks and does not wait, by `poll()`, may be going through a list of its own.
        transformer.applyAdviceToMethod(
                isPublic().and(namedOneOf("take", "takeFirst", "takeLast").and(takesArguments(0))
                        .or(namedOneOf("poll", "pollFirst", "pollLast").and(takesArguments(2)))),
                QueueInstrumentation.class.getName() + "$TakeAdvice");
    }

    /** Put into the method. */
    public static class TakeAdvice {
        /** Before: while there is nothing to do no context is kept. */
        @Advice.OnMethodEnter(suppress = Throwable.class)
        public static void enter() {
            Threads.waiting();
        }
    }
}
