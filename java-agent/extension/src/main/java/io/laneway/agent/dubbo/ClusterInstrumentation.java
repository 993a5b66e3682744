package io.laneway.agent.dubbo;

import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.returns;
import static net.bytebuddy.matcher.ElementMatchers.takesArgument;
import static net.bytebuddy.matcher.ElementMatchers.takesArguments;

import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import java.util.List;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.cluster.Directory;

/**
 * The list of instances that a call may go to, {@code AbstractClusterInvoker.list(Invocation)}: after Dubbo's own routers,
 * before its load balancer, and again before each retry. All of Dubbo's ways of calling have it in common, since 2.7.
 */
final class ClusterInstrumentation implements TypeInstrumentation {
    static final String CLUSTER = "org.apache.dubbo.rpc.cluster.support.AbstractClusterInvoker";

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return named(CLUSTER);
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(
                named("list")
                        .and(takesArguments(1))
                        .and(takesArgument(0, named("org.apache.dubbo.rpc.Invocation")))
                        .and(returns(named("java.util.List"))),
                ClusterInstrumentation.class.getName() + "$ListAdvice");
    }

    /** Put into the method. */
    public static class ListAdvice {
        /** After. */
        @Advice.OnMethodExit(suppress = Throwable.class)
        public static void exit(
                @Advice.FieldValue("directory") Directory<?> directory,
                @Advice.Return(readOnly = false) List<Invoker<?>> invokers) {
            invokers = Choosing.allowed(directory, invokers);
        }
    }
}
