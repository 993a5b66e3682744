package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * IP addresses and networks, read and written without ever asking a name server. An IPv4 address in IPv6 clothes
 * ({@code ::ffff:10.0.0.1}) is an IPv4 address everywhere.
 */
public final class Addresses {
    private static final byte[] MAPPED = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (byte) 0xff, (byte) 0xff};

    private Addresses() {}

    /** The four or sixteen bytes of an address; {@code null} if it is none. */
    public static byte[] parse(String text) {
        byte[] bytes = text.indexOf(':') < 0 ? parseFour(text) : parseSix(text);
        if (bytes != null && isMapped(bytes)) {
            return Arrays.copyOfRange(bytes, 12, 16);
        }
        return bytes;
    }

    /** {@code ip:port} in its one spelling, whatever family it is written in; {@code null} if it is none. */
    public static String canonical(String host, int port) {
        String bare = host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
        byte[] address = parse(bare);
        return address == null ? null : (address.length == 4 ? text(address) : "[" + text(address) + "]") + ":" + port;
    }

    /** An address as conditions compare it: IPv6 in its shortest form, lower-case. */
    static String text(byte[] address) {
        if (address.length == 4) {
            return (address[0] & 0xff) + "." + (address[1] & 0xff) + "." + (address[2] & 0xff) + "." + (address[3] & 0xff);
        }
        int[] words = new int[8];
        for (int at = 0; at < 8; at++) {
            words[at] = (address[2 * at] & 0xff) << 8 | address[2 * at + 1] & 0xff;
        }
        int from = 8;
        int length = 1; // a single zero is written
        for (int start = 0; start < 8; start++) {
            int end = start;
            while (end < 8 && words[end] == 0) {
                end++;
            }
            if (end - start > length) {
                from = start;
                length = end - start;
            }
        }
        StringBuilder text = new StringBuilder();
        for (int at = 0; at < 8; at++) {
            if (at == from) {
                text.append("::");
                at += length - 1;
                continue;
            }
            if (at > 0 && text.charAt(text.length() - 1) != ':') {
                text.append(':');
            }
            text.append(Integer.toHexString(words[at]));
        }
        return text.toString();
    }

    private static boolean isMapped(byte[] bytes) {
        return bytes.length == 16 && Arrays.equals(Arrays.copyOf(bytes, 12), MAPPED);
    }

    private static byte[] parseFour(String text) {
        String[] parts = text.split("\\.", -1);
        if (parts.length != 4) {
            return null;
        }
        byte[] bytes = new byte[4];
        for (int at = 0; at < 4; at++) {
            int number = number(parts[at], 10, 3);
            if (number < 0 || number > 255 || parts[at].length() > 1 && parts[at].charAt(0) == '0') {
                return null;
            }
            bytes[at] = (byte) number;
        }
        return bytes;
    }

    private static byte[] parseSix(String text) {
        int gap = text.indexOf("::");
        List<Integer> before = words(gap < 0 ? text : text.substring(0, gap));
        List<Integer> after = gap < 0 ? new ArrayList<Integer>() : words(text.substring(gap + 2));
        if (before == null || after == null) {
            return null;
        }
        int known = before.size() + after.size();
        if (gap < 0 ? known != 8 : known > 7) {
            return null;
        }
        byte[] bytes = new byte[16];
        for (int at = 0; at < before.size(); at++) {
            put(bytes, at, before.get(at));
        }
        for (int at = 0; at < after.size(); at++) {
            put(bytes, 8 - after.size() + at, after.get(at));
        }
        return bytes;
    }

    private static void put(byte[] bytes, int word, int value) {
        bytes[2 * word] = (byte) (value >> 8);
        bytes[2 * word + 1] = (byte) value;
    }

    /** Words of one side of {@code ::}, an IPv4 address at its end being two. */
    private static List<Integer> words(String text) {
        List<Integer> words = new ArrayList<>();
        if (text.isEmpty()) {
            return words;
        }
        String[] parts = text.split(":", -1);
        for (int at = 0; at < parts.length; at++) {
            byte[] four = at == parts.length - 1 && parts[at].indexOf('.') >= 0 ? parseFour(parts[at]) : null;
            if (four != null) {
                words.add((four[0] & 0xff) << 8 | four[1] & 0xff);
                words.add((four[2] & 0xff) << 8 | four[3] & 0xff);
                continue;
            }
            int number = number(parts[at], 16, 4);
            if (number < 0) {
                return null;
            }
            words.add(number);
        }
        return words;
    }

    private static int number(String text, int radix, int digitsMax) {
        if (text.isEmpty() || text.length() > digitsMax) {
            return -1;
        }
        int number = 0;
        for (int at = 0; at < text.length(); at++) {
            int digit = text.charAt(at) < 128 ? Character.digit(text.charAt(at), radix) : -1;
            if (digit < 0) {
                return -1;
            }
            number = number * radix + digit;
        }
        return number;
    }

    /** A network as an operator wrote it: {@code 10.0.0.0/8}, or an address alone. */
    static final class Network {
        private final byte[] address;
        private final int bits;

        Network(String text) {
            int slash = text.indexOf('/');
            String host = slash < 0 ? text : text.substring(0, slash);
            byte[] raw = host.indexOf(':') < 0 ? parseFour(host) : parseSix(host);
            int length = raw == null ? -1 : slash < 0 ? raw.length * 8 : number(text.substring(slash + 1), 10, 3);
            if (length < 0 || length > raw.length * 8) {
                throw new IllegalArgumentException("`" + text + "` is no network");
            }
            if (isMapped(raw) && length >= 96) {
                raw = Arrays.copyOfRange(raw, 12, 16);
                length -= 96;
            }
            address = raw;
            bits = length;
        }

        boolean contains(byte[] other) {
            if (other.length != address.length) {
                return false;
            }
            for (int bit = 0; bit < bits; bit++) {
                int mask = 0x80 >> bit % 8;
                if ((address[bit / 8] & mask) != (other[bit / 8] & mask)) {
                    return false;
                }
            }
            return true;
        }
    }
}
