package io.laneway.agent.refusing;

import static io.opentelemetry.javaagent.extension.matcher.AgentElementMatchers.implementsInterface;
import static net.bytebuddy.matcher.ElementMatchers.isAbstract;
import static net.bytebuddy.matcher.ElementMatchers.isPublic;
import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.namedOneOf;
import static net.bytebuddy.matcher.ElementMatchers.not;
import static net.bytebuddy.matcher.ElementMatchers.takesArgument;
import static net.bytebuddy.matcher.ElementMatchers.takesArguments;

import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;

/**
 * {@code Filter.doFilter} and {@code Servlet.service}, whichever is first. Where OpenTelemetry's agent knows the server itself
 * (Tomcat, Jetty, Undertow and most others) the context is there before either.
 */
final class ServletInstrumentation implements TypeInstrumentation {
    static final String JAKARTA = "jakarta.servlet.";
    static final String JAVAX = "javax.servlet.";

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return implementsInterface(namedOneOf(JAKARTA + "Filter", JAKARTA + "Servlet", JAVAX + "Filter", JAVAX + "Servlet"));
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(
                isPublic().and(not(isAbstract())).and(named("service").and(takesArguments(2)).or(named("doFilter").and(takesArguments(3))))
                        .and(takesArgument(1, namedOneOf(JAKARTA + "ServletResponse", JAVAX + "ServletResponse"))),
                ServletInstrumentation.class.getName() + "$ServeAdvice");
    }

    /** Put into the method. */
    public static class ServeAdvice {
        /** Before, and in its place where it answers. */
        @Advice.OnMethodEnter(suppress = Throwable.class, skipOn = Advice.OnNonDefaultValue.class)
        public static boolean enter(@Advice.Argument(1) Object response) {
            return Refusing.isAnswered(response);
        }
    }
}
