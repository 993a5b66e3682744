package io.laneway.agent.routing;

import io.laneway.agent.bridge.Bridge;
import io.laneway.agent.discovery.Told;
import io.laneway.agent.dubbo.Choosing;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.context.Scope;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.rpc.Invocation;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.Result;
import org.apache.dubbo.rpc.cluster.Directory;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What the agent adds to a call of Dubbo, all of it, with connections that tell at once whether they are there. A fifth of the instances
 * are in the lane.
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 3, time = 2)
@Fork(value = 1, jvmArgs = "-Xmx256m")
@State(org.openjdk.jmh.annotations.Scope.Thread)
public class DubboCost {
    private static final int GRAY_EVERY = 5;

    /** Of the service that is called. */
    @Param({"3", "30", "300"})
    public int instances;

    /** Of the request. */
    @Param({"base", "gray"})
    public String lane;

    private final List<Invoker<?>> all = new ArrayList<>();
    private Directory<?> directory;
    private Scope request;

    /** A picture, Dubbo's connections, and a request on this thread. */
    @Setup
    public void begin() {
        String[] told = new String[instances];
        for (int number = 0; number < instances; number++) {
            String address = "10.0." + number / 250 + "." + (1 + number % 250) + ":20880";
            all.add(new Connection(URL.valueOf("dubbo://" + address + "/Shop?interface=Shop")));
            told[number] = address + (number % GRAY_EVERY == 0 ? "=gray" : "");
        }
        directory = new Connected(all);
        Bridge.install(new Following(new Told().lenient().service("providers:shop::", told).view()));
        request = (lane.equals("base") ? Baggage.empty() : Baggage.builder().put("lane.trade", lane).build()).makeCurrent();
    }

    /** The request is over. */
    @TearDown
    public void end() {
        request.close();
    }

    /** Of all, with nothing that Dubbo's own routers have left out. */
    @Benchmark
    public List<Invoker<?>> underTheAgent() {
        return Choosing.allowed(directory, all);
    }

    private static final class Connection implements Invoker<Object> {
        private final URL url;

        Connection(URL url) {
            this.url = url;
        }

        @Override
        public Class<Object> getInterface() {
            return Object.class;
        }

        @Override
        public Result invoke(Invocation invocation) {
            return null;
        }

        @Override
        public URL getUrl() {
            return url;
        }

        @Override
        public boolean isAvailable() {
            return true;
        }

        @Override
        public void destroy() {}
    }

    private static final class Connected implements Directory<Object> {
        private final List<Invoker<Object>> all = new ArrayList<>();

        @SuppressWarnings("unchecked")
        Connected(List<Invoker<?>> all) {
            all.forEach(one -> this.all.add((Invoker<Object>) one));
        }

        @Override
        public Class<Object> getInterface() {
            return Object.class;
        }

        @Override
        public List<Invoker<Object>> list(Invocation invocation) {
            return all;
        }

        @Override
        public List<Invoker<Object>> getAllInvokers() {
            return all;
        }

        @Override
        public URL getConsumerUrl() {
            return null;
        }

        @Override
        public boolean isDestroyed() {
            return false;
        }

        @Override
        public void discordAddresses() {}

        @Override
        public URL getUrl() {
            return null;
        }

        @Override
        public boolean isAvailable() {
            return true;
        }

        @Override
        public void destroy() {}
    }
}
