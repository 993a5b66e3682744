package io.laneway.agent.decision;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import org.junit.jupiter.api.Test;

class AddressesTest {
    private static void check(String written, String canonical) {
        byte[] address = Addresses.parse(written);
        assertEquals(canonical, address == null ? null : Addresses.text(address), written);
    }

    @Test
    void addresses_have_one_spelling() {
        check("10.0.0.1", "10.0.0.1");
        check("::ffff:10.0.0.1", "10.0.0.1");
        check("2001:DB8:0:0:0:0:0:1", "2001:db8::1");
        check("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
        check("1:0:0:2:0:0:0:3", "1:0:0:2::3");
        check("1:0:0:2:3:0:0:4", "1::2:3:0:0:4");
        check("::", "::");
        check("::1", "::1");
        check("1::", "1::");
        check("fe80::1.2.3.4", "fe80::102:304");
        for (String none : new String[] {"", "localhost", "1.2.3", "1.2.3.256", "01.2.3.4", "1:2", ":::", "1::2::3", "12345::", "g::"}) {
            check(none, null);
        }
    }

    @Test
    void endpoints_are_told_apart_by_address_and_port() {
        assertEquals("[fd00::1]:80", Addresses.canonical("[FD00:0::1]", 80));
        assertEquals("10.0.0.1:80", Addresses.canonical("::ffff:10.0.0.1", 80));
        assertNull(Addresses.canonical("localhost", 80));
    }
}
