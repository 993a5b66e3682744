package io.laneway.agent.discovery;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.laneway.agent.decision.XxHash64;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import org.junit.jupiter.api.Test;

class PictureTest {
    private static ProtobufWriter message() {
        return new ProtobufWriter();
    }

    private static ProtobufWriter id(String name) {
        return message().text(1, "fixed").text(2, "default").text(4, name);
    }

    private static ProtobufWriter service(String... addresses) {
        ProtobufWriter service = message().message(1, id("SC-b")).text(2, "sc-B").text(3, "app-b");
        for (String address : addresses) {
            service.message(4, message().text(1, address).number(4, 1).number(5, 1).text(99, "from the future"));
        }
        return message().text(1, "service/x").number(2, -1).message(4, service);
    }

    private static ProtobufWriter name(String name, boolean known) {
        ProtobufWriter answer = message().text(1, name);
        return message().text(1, "name/" + name).number(2, 7).message(7, known ? answer.message(2, id("sc-b")) : answer);
    }

    private static ProtobufWriter control(long number, ProtobufWriter... upserts) {
        ProtobufWriter control = message().message(1, message().text(1, "epoch").number(2, number));
        for (ProtobufWriter upsert : upserts) {
            control.message(2, upsert);
        }
        return control;
    }

    @Test
    void a_name_leads_to_its_instances_until_they_are_removed() {
        Picture picture = new Picture("app-a");
        assertFalse(picture.view().knows("sc-b"));
        picture.apply(control(1, service("10.0.0.1:80"), name("sc-b", true), name("nobody", false)).number(4, 1).bytes());
        View view = picture.view();
        assertTrue(view.isTold);
        assertEquals(1, view.service("sc-b").endpoints().size());
        assertTrue(view.knows("nobody"));
        assertNull(view.service("nobody"));
        picture.apply(control(2, service("10.0.0.1:80", "10.0.0.2:80")).bytes());
        assertEquals(2, picture.view().service("sc-b").endpoints().size());
        picture.apply(control(3).text(3, "service/x").text(3, "name/sc-b").bytes());
        assertNull(picture.view().service("sc-b"));
        assertEquals(3, picture.number());
        assertEquals(1, view.service("sc-b").endpoints().size());
    }

    @Test
    void a_name_whose_service_is_still_to_come_means_nothing_yet() {
        Picture picture = new Picture("app-a");
        picture.apply(control(1, name("sc-b", true)).number(4, 1).bytes());
        assertFalse(picture.view().knows("sc-b"));
        picture.apply(control(2, service("nowhere")).bytes());
        assertFalse(picture.view().knows("sc-b"), "its service cannot be read");
        picture.apply(control(3, service("10.0.0.1:80")).bytes());
        assertTrue(picture.view().knows("sc-b"));
    }

    @Test
    void a_name_of_several_sources_is_known_and_no_service() {
        Picture picture = new Picture("app-a");
        ProtobufWriter answer = message().text(1, "sc-b").text(3, "nacos").text(3, "fixed");
        picture.apply(control(1, message().text(1, "name/sc-b").number(2, 7).message(7, answer)).bytes());
        assertTrue(picture.view().knows("sc-b"));
        assertNull(picture.view().service("sc-b"));
        assertEquals(Arrays.asList("nacos", "fixed"), picture.view().sources("sc-b"));
        assertTrue(picture.view().sources("sc-c").isEmpty());
    }

    @Test
    void what_cannot_be_read_is_refused_and_the_last_good_one_stays() {
        Picture picture = new Picture("app-a");
        picture.apply(control(1, service("10.0.0.1:80"), name("sc-b", true)).bytes());
        assertEquals(Arrays.asList("service/x", "this agent cannot read it: `nowhere` is no address"),
                picture.apply(control(2, service("nowhere")).bytes()));
        assertEquals("10.0.0.1:80", picture.view().service("sc-b").endpoints().get(0).address);
    }

    /** Hashes as they are packed. */
    private static byte[] hashes(String... names) {
        ByteBuffer hashes = ByteBuffer.allocate(8 * names.length).order(ByteOrder.LITTLE_ENDIAN);
        for (String name : names) {
            hashes.putLong(XxHash64.hash(name.getBytes(StandardCharsets.UTF_8)));
        }
        return hashes.array();
    }

    @Test
    void what_no_digest_names_is_known_to_be_nothing() {
        Picture picture = new Picture("app-a");
        ProtobufWriter digest = message().number(1, 1).run(2, hashes("sc-b", "sc-c", "sc-d"));
        picture.apply(control(1).number(4, 1).message(5, digest).bytes());
        for (String name : new String[] {"sc-b", "sc-c", "sc-d"}) {
            assertFalse(picture.view().knows(name), name);
        }
        assertTrue(picture.view().knows("example.org"));
        picture.apply(control(2).message(5, message().run(2, hashes("sc-e", "sc-c")).run(3, hashes("sc-b"))).bytes());
        assertTrue(picture.view().knows("sc-b"));
        for (String name : new String[] {"sc-c", "sc-d", "sc-e"}) {
            assertFalse(picture.view().knows(name), name);
        }
        picture.apply(control(3).message(5, message().number(1, 1).run(2, hashes("sc-b"))).bytes());
        assertFalse(picture.view().knows("sc-b"));
        assertTrue(picture.view().knows("sc-d"));
    }

    @Test
    void a_change_of_a_digest_that_was_never_whole_says_nothing() {
        Picture picture = new Picture("app-a");
        picture.apply(control(1).number(4, 1).message(5, message().run(2, hashes("sc-b"))).bytes());
        assertFalse(picture.view().knows("sc-c"));
        picture.apply(control(2).message(5, message().number(1, 1).run(2, hashes("sc-b"))).bytes());
        assertTrue(picture.view().knows("sc-c"));
    }

    @Test
    void what_is_held_is_told_at_the_next_connection() {
        Picture picture = new Picture("app-a");
        picture.apply(control(1, service("10.0.0.1:80")).bytes());
        Identity identity = new Identity("", "node", "app-a", "", "", "secret", "0.1.0", "");
        byte[] hello = Messages.hello(identity, picture.held(), picture.epoch());
        ProtobufReader in = new ProtobufReader(hello);
        assertEquals(1, in.next());
        ProtobufReader fields = in.message();
        String held = "";
        String epoch = "";
        for (int field = fields.next(); field != 0; field = fields.next()) {
            if (field == 6) {
                ProtobufReader one = fields.message();
                one.next();
                held = one.text();
            } else if (field == 12) {
                epoch = fields.text();
            } else {
                fields.skip();
            }
        }
        assertEquals("service/x of epoch", held + " of " + epoch);
        assertTrue(Messages.subscribe(Collections.singleton("sc-b")).length > 4);
    }

    @Test
    void headers_coded_as_servers_code_them_are_read() throws Exception {
        // `grpc-status: 16` and `www.example.com` (RFC 7541 C.4.1), in code.
        byte[] text = {(byte) 0xf1, (byte) 0xe3, (byte) 0xc2, (byte) 0xe5, (byte) 0xf2, 0x3a, 0x6b, (byte) 0xa0,
            (byte) 0xab, (byte) 0x90, (byte) 0xf4, (byte) 0xff};
        byte[] block = new byte[16 + text.length];
        block[0] = 0x20;
        block[1] = (byte) 0x88;
        block[2] = 0;
        block[3] = 11;
        System.arraycopy("grpc-status".getBytes(StandardCharsets.US_ASCII), 0, block, 4, 11);
        block[15] = (byte) (0x80 | text.length);
        System.arraycopy(text, 0, block, 16, text.length);
        assertEquals("www.example.com", Hpack.read(block).get("grpc-status"));
        assertEquals("200", Hpack.read(block).get(":status"));
    }

    /** Group {@code trade}, entered at {@code app-a}, with one lane that is entered so. */
    private static ProtobufWriter entered(String at, int entry, ProtobufWriter written) {
        ProtobufWriter lane = message().text(1, "gray").number(2, 1).number(3, 1).message(entry, written);
        ProtobufWriter group = message().text(1, "trade")
                .message(2, message().message(2, message().text(1, at).number(2, 1))).text(3, "app-b").message(4, lane);
        return message().text(1, "group/trade").number(2, 1).message(3, group);
    }

    private static ProtobufWriter content(int operator, String operand) {
        ProtobufWriter condition = message().message(1, message().text(1, "canary")).text(operator, operand);
        return message().message(2, condition);
    }

    @Test
    void how_requests_enter_is_read_where_this_application_lets_them_in_and_refused_where_it_is_not_known() {
        Picture picture = new Picture("app-a");
        assertEquals(Collections.emptyList(), picture.apply(control(1, entered("app-a", 5, content(7, "gr[ae]y"))).bytes()));
        assertTrue(picture.view().policy.isEntrance("app-a"));
        assertTrue(picture.view().policy.isEdge("app-a"));
        assertFalse(picture.view().policy.isEntrance("app-b"));
        for (ProtobufWriter wrong : Arrays.asList(content(99, "from the future"), content(7, "gr[ay"),
                message().message(2, message().text(2, "no parameter")), message().number(7, 1))) {
            assertEquals(2, picture.apply(control(2, entered("app-a", 5, wrong)).bytes()).size());
            assertEquals(0, picture.apply(control(3, entered("app-b", 5, wrong)).bytes()).size());
        }
        assertEquals(2, picture.apply(control(4, entered("app-a", 10, message())).bytes()).size(), "a way that is to come");
        ProtobufWriter ratio = message().number(1, 3_000).message(2, message().text(3, "uid"));
        assertEquals(0, picture.apply(control(4, entered("app-a", 6, ratio)).bytes()).size());
    }
}
