package io.laneway.agent.refusing;

import static io.opentelemetry.javaagent.extension.matcher.AgentElementMatchers.hasClassesNamed;

import io.laneway.agent.RoutingModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Collections;
import java.util.List;
import net.bytebuddy.matcher.ElementMatcher;

/** Servlets, of Java EE and of Jakarta. */
public class ServletModule extends RoutingModule {
    /** Called by the agent, once. */
    public ServletModule() {
        super("laneway-servlet", ServletInstrumentation.JAKARTA + "Servlet", "io.laneway.agent.refusing.Refusing");
    }

    @Override
    public ElementMatcher.Junction<ClassLoader> classLoaderMatcher() {
        return super.classLoaderMatcher().or(hasClassesNamed(ServletInstrumentation.JAVAX + "Servlet"));
    }

    @Override
    protected List<TypeInstrumentation> adapters() {
        return Collections.<TypeInstrumentation>singletonList(new ServletInstrumentation());
    }
}
