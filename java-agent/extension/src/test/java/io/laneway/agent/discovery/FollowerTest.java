package io.laneway.agent.discovery;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.statistics.Counters;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.logging.Level;
import org.junit.jupiter.api.Test;

class FollowerTest {
    /** Longer than anything takes that is not broken. */
    private static final int SOON_MILLIS = 60_000;

    /** A frame of HTTP/2 with one message of gRPC, which says that nothing else is to come: `synced`. */
    private static final byte[] SYNCED = {0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4 << 3, 1};

    private static ServerSocket control() throws Exception {
        ServerSocket control = new ServerSocket(0, 4, InetAddress.getLoopbackAddress());
        control.setSoTimeout(SOON_MILLIS);
        return control;
    }

    private static void follow(ServerSocket control, BiConsumer<Level, String> log) {
        String address = "127.0.0.1:" + control.getLocalPort();
        new Follower(new Identity(address, "node", "app-a", "", "", "", "", ""), new Counters(), log).start();
    }

    @Test
    void an_error_of_whatever_kind_ends_a_connection_and_not_the_following() throws Exception {
        BlockingQueue<String> said = new LinkedBlockingQueue<>();
        try (ServerSocket control = control()) {
            follow(control, (level, text) -> {
                said.add(level + " " + text.replaceAll(" (at|plane) .*", ""));
                throw new AssertionError("the application's log fails");
            });
            for (int connection = 0; connection < 3; connection++) {
                try (Socket accepted = control.accept()) {
                    accepted.getOutputStream().write(SYNCED);
                    assertEquals("INFO following the control", said.poll(SOON_MILLIS, TimeUnit.MILLISECONDS));
                    assertEquals("WARNING the control", said.poll(SOON_MILLIS, TimeUnit.MILLISECONDS));
                }
            }
        }
    }

    @Test
    void that_it_is_away_is_a_warning_with_a_reason() throws Exception {
        BlockingQueue<String> said = new LinkedBlockingQueue<>();
        try (ServerSocket control = control()) {
            follow(control, (level, text) -> said.add(level + " " + text));
            control.accept().close();
            String first = said.poll(SOON_MILLIS, TimeUnit.MILLISECONDS);
            assertTrue(first.startsWith("WARNING the control plane at 127.0.0.1:"), first);
            assertFalse(first.contains("null"), first);
        }
    }

    @Test
    void the_application_ends_before_goodbye_is_said() throws Exception {
        CountDownLatch served = new CountDownLatch(1);
        Thread application = new Thread(() -> {
            try {
                served.await();
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
        }, "SpringApplicationShutdownHook");
        application.start();
        Thread goodbye = new Thread(Follower::waitForApplication);
        goodbye.start();
        goodbye.join(500);
        assertTrue(goodbye.isAlive(), "it does not wait");
        served.countDown();
        goodbye.join(SOON_MILLIS);
        assertFalse(goodbye.isAlive(), "it waits for nobody");
        application.join();
    }
}
