package io.laneway.agent.decision;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** XXH64 with seed 0: the hash of every language of Laneway (semantics §6). */
public final class XxHash64 {
    private static final long P1 = 0x9e3779b185ebca87L;
    private static final long P2 = 0xc2b2ae3d27d4eb4fL;
    private static final long P3 = 0x165667b19e3779f9L;
    private static final long P4 = 0x85ebca77c2b2ae63L;
    private static final long P5 = 0x27d4eb2f165667c5L;

    private XxHash64() {}

    /** The hash of these bytes. */
    public static long hash(byte[] bytes) {
        ByteBuffer rest = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        long hash = bytes.length >= 32 ? stripes(rest) : P5;
        hash += bytes.length;
        while (rest.remaining() >= 8) {
            hash = Long.rotateLeft(hash ^ round(0, rest.getLong()), 27) * P1 + P4;
        }
        if (rest.remaining() >= 4) {
            hash = Long.rotateLeft(hash ^ (rest.getInt() & 0xffffffffL) * P1, 23) * P2 + P3;
        }
        while (rest.hasRemaining()) {
            hash = Long.rotateLeft(hash ^ (rest.get() & 0xff) * P5, 11) * P1;
        }
        hash = (hash ^ hash >>> 33) * P2;
        hash = (hash ^ hash >>> 29) * P3;
        return hash ^ hash >>> 32;
    }

    /** Four lanes of eight bytes each, as long as there are 32. */
    private static long stripes(ByteBuffer rest) {
        long[] lanes = {P1 + P2, P2, 0, -P1};
        while (rest.remaining() >= 32) {
            for (int lane = 0; lane < 4; lane++) {
                lanes[lane] = round(lanes[lane], rest.getLong());
            }
        }
        long hash = Long.rotateLeft(lanes[0], 1) + Long.rotateLeft(lanes[1], 7)
                + Long.rotateLeft(lanes[2], 12) + Long.rotateLeft(lanes[3], 18);
        for (long lane : lanes) {
            hash = (hash ^ round(0, lane)) * P1 + P4;
        }
        return hash;
    }

    private static long round(long lane, long input) {
        return Long.rotateLeft(lane + input * P2, 31) * P1;
    }
}
