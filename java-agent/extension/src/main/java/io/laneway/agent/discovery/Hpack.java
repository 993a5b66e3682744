package io.laneway.agent.discovery;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * Header lists of HTTP/2 (RFC 7541), as far as one stream of gRPC needs them: written as plain literals, read without a
 * dynamic table, which is switched off by this side's settings.
 */
final class Hpack {
    /** Lengths of the codes of all bytes and of the end, `A` being 5 bits. The code is canonical: lengths say it all. */
    private static final String CODE_LENGTHS =
            "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJB"
            + "KABABABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORS"
            + "RUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWVZ";
    private static final int SHORTEST = 5;
    private static final int LONGEST = 30;
    private static final int END = 256;
    /** The first and last entries of the static table that are statuses. */
    private static final int FIRST_STATUS = 8;
    private static final String[] STATUSES = {"200", "204", "206", "304", "400", "404", "500"};
    private static final int STATIC_MAX = 61;

    private final byte[] block;
    private int at;

    private Hpack(byte[] block) {
        this.block = block;
    }

    /** Names and values in turn. */
    static byte[] write(String... fields) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int index = 0; index < fields.length; index += 2) {
            out.write(0);
            writeText(out, fields[index]);
            writeText(out, fields[index + 1]);
        }
        return out.toByteArray();
    }

    private static void writeText(ByteArrayOutputStream out, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        if (bytes.length < 127) {
            out.write(bytes.length);
        } else {
            out.write(127);
            int rest = bytes.length - 127;
            for (; rest >= 128; rest >>>= 7) {
                out.write(rest & 127 | 128);
            }
            out.write(rest);
        }
        out.write(bytes, 0, bytes.length);
    }

    /** The fields of a whole block. Names of the static table other than `:status` are left out: nobody asks for them. */
    static Map<String, String> read(byte[] block) throws IOException {
        Hpack reader = new Hpack(block);
        Map<String, String> fields = new HashMap<>();
        while (reader.at < block.length) {
            reader.field(fields);
        }
        return fields;
    }

    private void field(Map<String, String> fields) throws IOException {
        int first = block[at] & 0xff;
        if ((first & 0x80) != 0) {
            int index = number(7);
            if (index >= FIRST_STATUS && index < FIRST_STATUS + STATUSES.length) {
                fields.put(":status", STATUSES[index - FIRST_STATUS]);
            } else if (index == 0 || index > STATIC_MAX) {
                throw new IOException("a header refers to a table that is switched off");
            }
            return;
        }
        if ((first & 0xe0) == 0x20) {
            number(5); // the size of the dynamic table
            return;
        }
        int index = number((first & 0x40) != 0 ? 6 : 4);
        boolean isStatus = index >= FIRST_STATUS && index < FIRST_STATUS + STATUSES.length;
        String name = index == 0 ? text() : isStatus ? ":status" : "";
        fields.put(name, text());
    }

    private int number(int prefixBits) throws IOException {
        int mask = (1 << prefixBits) - 1;
        int value = take() & mask;
        if (value < mask) {
            return value;
        }
        for (int shift = 0; shift <= 21; shift += 7) {
            int part = take();
            value += (part & 0x7f) << shift;
            if ((part & 0x80) == 0) {
                return value;
            }
        }
        throw new IOException("a number in a header is too long");
    }

    private String text() throws IOException {
        boolean coded = at < block.length && (block[at] & 0x80) != 0;
        int length = number(7);
        if (length > block.length - at) {
            throw new IOException("a header reaches beyond its block");
        }
        at += length;
        return coded
                ? decode(block, at - length, at)
                : new String(block, at - length, length, StandardCharsets.UTF_8);
    }

    private int take() throws IOException {
        if (at == block.length) {
            throw new IOException("a header ends too early");
        }
        return block[at++] & 0xff;
    }

    private static String decode(byte[] bytes, int from, int to) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        int code = 0;
        int bits = 0;
        for (int bit = from * 8; bit < to * 8; bit++) {
            code = code << 1 | bytes[bit / 8] >> 7 - bit % 8 & 1;
            bits++;
            int symbol = Codes.symbol(code, bits);
            if (symbol == END || bits > LONGEST) {
                throw new IOException("a header is not coded as it should be");
            }
            if (symbol >= 0) {
                out.write(symbol);
                code = 0;
                bits = 0;
            }
        }
        return new String(out.toByteArray(), StandardCharsets.UTF_8);
    }

    /** Symbols by the length and the value of their code; made when a coded text is first read. */
    private static final class Codes {
        private static final int[] FIRST_CODE = new int[LONGEST + 2];
        private static final int[][] SYMBOLS = new int[LONGEST + 1][];

        static {
            int code = 0;
            for (int length = SHORTEST; length <= LONGEST; length++) {
                int wanted = length;
                SYMBOLS[length] = java.util.stream.IntStream.rangeClosed(0, END)
                        .filter(symbol -> CODE_LENGTHS.charAt(symbol) - 'A' + SHORTEST == wanted)
                        .toArray();
                FIRST_CODE[length] = code;
                code = code + SYMBOLS[length].length << 1;
            }
        }

        /** -1 where no code of this length has this value. */
        static int symbol(int code, int length) {
            if (length < SHORTEST || length > LONGEST) {
                return -1;
            }
            int place = code - FIRST_CODE[length];
            return place >= 0 && place < SYMBOLS[length].length ? SYMBOLS[length][place] : -1;
        }
    }
}
