package io.laneway.agent;

import io.opentelemetry.javaagent.bootstrap.InstrumentationHolder;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.lang.instrument.Instrumentation;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;
import net.bytebuddy.dynamic.loading.ClassInjector;

/** Puts the bridge where both the agent and every application see it, before anyone asks for it. */
public final class Bootstrap {
    private static final String[] BRIDGE = {"Bridge", "Router", "Instance", "Allowed", "Refusal", "Awaited", "Awaited$Answer", "Threads", "ThreadWatcher"};
    private static final Logger LOGGER = Logger.getLogger("io.laneway.agent");
    private static Boolean isThere;

    private Bootstrap() {}

    /** Does it once. Returns whether it is there: where it is not, that is said, and nothing asks for it. */
    public static synchronized boolean inject() {
        if (isThere == null) {
            try {
                write(InstrumentationHolder.getInstrumentation());
                isThere = true;
            } catch (Throwable error) {
                isThere = false;
                LOGGER.log(Level.SEVERE, "laneway: the agent does not start, and the application goes on as without lanes, and registers as the base whatever its flags say: it "
                        + "needs a folder for temporary files that it may write to (-Djava.io.tmpdir=…)", error);
            }
        }
        return isThere;
    }

    private static void write(Instrumentation instrumentation) throws IOException {
        Map<String, byte[]> classes = new HashMap<>();
        for (String name : BRIDGE) {
            classes.put("io.laneway.agent.bridge." + name, read("bridge/" + name + ".class"));
        }
        File folder = Files.createTempDirectory("laneway-agent").toFile();
        folder.deleteOnExit();
        ClassInjector.UsingInstrumentation.of(folder, ClassInjector.UsingInstrumentation.Target.BOOTSTRAP, instrumentation)
                .injectRaw(classes);
        for (File jar : folder.listFiles()) {
            jar.deleteOnExit();
        }
    }

    private static byte[] read(String name) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (InputStream in = Bootstrap.class.getResourceAsStream(name)) {
            byte[] piece = new byte[8192];
            for (int length = in.read(piece); length >= 0; length = in.read(piece)) {
                out.write(piece, 0, length);
            }
        }
        return out.toByteArray();
    }
}
