package io.laneway.agent.dubbo;

import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.returns;
import static net.bytebuddy.matcher.ElementMatchers.takesArgument;
import static net.bytebuddy.matcher.ElementMatchers.takesArguments;

import io.laneway.agent.bridge.Awaited;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.Result;

/**
 * Where a call leaves to an instance, {@code AbstractInvoker.invoke(Invocation)}, and where one has come to the application's own
 * object, {@code AbstractProxyInvoker.invoke(Invocation)}: whatever the protocol, within OpenTelemetry's filters.
 */
final class InvokerInstrumentation implements TypeInstrumentation {
    private final String type;
    private final String advice;

    private InvokerInstrumentation(String type, String advice) {
        this.type = type;
        this.advice = InvokerInstrumentation.class.getName() + advice;
    }

    static InvokerInstrumentation ofCallers() {
        return new InvokerInstrumentation("org.apache.dubbo.rpc.protocol.AbstractInvoker", "$CallAdvice");
    }

    static InvokerInstrumentation ofProviders() {
        return new InvokerInstrumentation("org.apache.dubbo.rpc.proxy.AbstractProxyInvoker", "$ServeAdvice");
    }

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return named(type);
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(
                named("invoke").and(takesArguments(1)).and(takesArgument(0, named("org.apache.dubbo.rpc.Invocation")))
                        .and(returns(named("org.apache.dubbo.rpc.Result"))),
                advice);
    }

    /** Put into the method. */
    public static class CallAdvice {
        /** Before. */
        @Advice.OnMethodEnter(suppress = Throwable.class)
        public static Awaited enter(@Advice.This Invoker<?> invoker) {
            return Answering.calling(invoker);
        }

        /** After. */
        @Advice.OnMethodExit(onThrowable = Throwable.class, suppress = Throwable.class)
        public static void exit(@Advice.Enter Awaited awaited, @Advice.Return Result result, @Advice.Thrown Throwable thrown) {
            Answering.ended(awaited, result, thrown);
        }
    }

    /** Put into the method. */
    public static class ServeAdvice {
        /** Before. */
        @Advice.OnMethodEnter(suppress = Throwable.class)
        public static Awaited enter() {
            return Answering.serving();
        }

        /** After. */
        @Advice.OnMethodExit(onThrowable = Throwable.class, suppress = Throwable.class)
        public static void exit(@Advice.Enter Awaited awaited, @Advice.Return Result result, @Advice.Thrown Throwable thrown) {
            Answering.ended(awaited, result, thrown);
        }
    }
}
