package io.laneway.agent.discovery;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Map;

/**
 * One stream of gRPC, both ways, on a connection of its own: HTTP/2 in the clear from the first byte on. The whole of
 * HTTP/2 that one stream needs is little; the libraries that do all of it are ten megabytes in somebody else's process.
 *
 * <p>One thread reads; any thread may send, and never waits for the other side to make room.
 */
final class GrpcStream implements Closeable {
    private static final byte[] PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".getBytes(StandardCharsets.US_ASCII);
    private static final int DATA = 0;
    private static final int HEADERS = 1;
    private static final int RST_STREAM = 3;
    private static final int SETTINGS = 4;
    private static final int PING = 6;
    private static final int GOAWAY = 7;
    private static final int WINDOW_UPDATE = 8;
    private static final int CONTINUATION = 9;
    private static final int END_STREAM = 1;
    private static final int ACK = 1;
    private static final int END_HEADERS = 4;
    private static final int PADDED = 8;
    private static final int PRIORITY = 0x20;
    private static final int STREAM = 1;
    /** Every peer takes frames of this size. */
    private static final int FRAME_BYTES_MAX = 16_384;
    /** What every peer lets through before it says otherwise. */
    private static final int WINDOW_BYTES = 65_535;
    /** What this side lets through: more than a first picture has, so that it does not come in pieces. */
    private static final int OWN_WINDOW_BYTES = 16 * 1024 * 1024;
    /** As the control plane's own limit on what it tells a data plane. */
    private static final int MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
    private static final int HEADER_BYTES_MAX = 64 * 1024;
    private static final int CONNECT_MILLIS = 2_000;
    /** A silent connection is asked for a sign of life this often, and given up after as long again. */
    private static final int KEEP_ALIVE_MILLIS = 5_000;

    private final Socket socket = new Socket();
    private final DataInputStream in;
    private final OutputStream out;
    private final ByteArrayOutputStream received = new ByteArrayOutputStream();
    /** With fewer bytes than this there is no whole message in {@link #received}. */
    private int wanted = 5;
    private final ByteArrayOutputStream headers = new ByteArrayOutputStream();
    private final ArrayDeque<byte[]> messages = new ArrayDeque<>();
    /** What waits for the other side to make room, and how much it has made. Guarded by {@code this}. */
    private ByteBuffer unsent = ByteBuffer.allocate(0);
    private long connectionWindow = WINDOW_BYTES;
    private long streamWindow = WINDOW_BYTES;
    private long initialWindow = WINDOW_BYTES;

    /** Connects to {@code host:port} and opens the stream. */
    GrpcStream(String authority, String path) throws IOException {
        int colon = authority.lastIndexOf(':');
        if (colon < 0) {
            throw new IOException("`" + authority + "` is no host:port");
        }
        String host = authority.substring(0, colon).replaceAll("^\\[|]$", "");
        int port;
        try {
            port = Integer.parseInt(authority.substring(colon + 1));
        } catch (NumberFormatException error) {
            throw new IOException("`" + authority + "` is no host:port", error);
        }
        try {
            socket.connect(new InetSocketAddress(host, port), CONNECT_MILLIS);
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(KEEP_ALIVE_MILLIS);
            in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), FRAME_BYTES_MAX));
            out = socket.getOutputStream();
            begin(authority, path);
        } catch (IOException | RuntimeException error) {
            socket.close();
            throw error;
        }
    }

    private synchronized void begin(String authority, String path) throws IOException {
        out.write(PREFACE);
        ByteBuffer settings = ByteBuffer.allocate(18);
        settings.putShort((short) 1).putInt(0); // no dynamic table of headers
        settings.putShort((short) 2).putInt(0); // nothing is pushed
        settings.putShort((short) 4).putInt(OWN_WINDOW_BYTES);
        frame(SETTINGS, 0, 0, settings.array());
        frame(WINDOW_UPDATE, 0, 0, ByteBuffer.allocate(4).putInt(OWN_WINDOW_BYTES - WINDOW_BYTES).array());
        byte[] block = Hpack.write(":method", "POST", ":scheme", "http", ":path", path, ":authority", authority,
                "content-type", "application/grpc", "te", "trailers", "user-agent", "laneway-agent");
        frame(HEADERS, END_HEADERS, STREAM, block);
    }

    /** Sends a message, or keeps it until there is room for it. */
    synchronized void send(byte[] message) throws IOException {
        ByteBuffer more = ByteBuffer.allocate(unsent.remaining() + 5 + message.length);
        more.put(unsent).put((byte) 0).putInt(message.length).put(message);
        more.flip();
        unsent = more;
        flush();
    }

    /** Whether something still waits for the other side to make room. */
    synchronized boolean isBehind() {
        return unsent.hasRemaining();
    }

    private void flush() throws IOException {
        while (unsent.hasRemaining()) {
            long room = Math.min(Math.min(connectionWindow, streamWindow), FRAME_BYTES_MAX);
            if (room <= 0) {
                return;
            }
            byte[] piece = new byte[(int) Math.min(room, unsent.remaining())];
            unsent.get(piece);
            connectionWindow -= piece.length;
            streamWindow -= piece.length;
            frame(DATA, 0, STREAM, piece);
        }
    }

    /** The next message. Whatever ends the stream is an exception that says why. */
    byte[] receive() throws IOException {
        while (messages.isEmpty()) {
            readFrame();
        }
        return messages.poll();
    }

    private void readFrame() throws IOException {
        int length = waitForFrame() << 16 | in.readUnsignedShort();
        int type = in.readUnsignedByte();
        int flags = in.readUnsignedByte();
        int stream = in.readInt();
        if (length > FRAME_BYTES_MAX) {
            throw new IOException("it sends a frame of " + length + " bytes: it speaks no HTTP/2, perhaps");
        }
        byte[] payload = new byte[length];
        in.readFully(payload);
        switch (type) {
            case DATA:
                takeData(content(payload, flags & PADDED), length);
                break;
            case HEADERS:
            case CONTINUATION:
                takeHeaders(type == HEADERS ? content(payload, flags) : ByteBuffer.wrap(payload), flags);
                break;
            case RST_STREAM:
                throw new IOException("it reset the stream");
            case GOAWAY:
                throw new IOException("it closes the connection");
            case SETTINGS:
                if ((flags & ACK) == 0) {
                    takeSettings(ByteBuffer.wrap(payload));
                }
                break;
            case PING:
                if ((flags & ACK) == 0) {
                    sendFrame(PING, ACK, payload);
                }
                break;
            case WINDOW_UPDATE:
                widen(stream, ByteBuffer.wrap(payload).getInt());
                break;
            default:
                break;
        }
        if ((flags & END_STREAM) != 0 && (type == DATA || type == HEADERS)) {
            throw new IOException("it closed the stream");
        }
    }

    /** The first byte of the next frame. While nothing comes the other side is asked whether it is there. */
    private int waitForFrame() throws IOException {
        try {
            return in.readUnsignedByte();
        } catch (SocketTimeoutException silence) {
            sendFrame(PING, 0, new byte[8]);
            return in.readUnsignedByte();
        }
    }

    /** A payload without its padding and priority. */
    private static ByteBuffer content(byte[] payload, int flags) throws IOException {
        ByteBuffer content = ByteBuffer.wrap(payload);
        int padding = (flags & PADDED) != 0 && content.hasRemaining() ? content.get() & 0xff : 0;
        int priority = (flags & PRIORITY) != 0 ? 5 : 0;
        if (padding + priority > content.remaining()) {
            throw new IOException("a frame has more padding than bytes");
        }
        content.position(content.position() + priority);
        content.limit(content.limit() - padding);
        return content;
    }

    private void takeData(ByteBuffer data, int counted) throws IOException {
        received.write(data.array(), data.position(), data.remaining());
        byte[] all = received.size() < wanted ? new byte[0] : received.toByteArray();
        int at = 0;
        while (all.length - at >= 5) {
            int size = ByteBuffer.wrap(all, at + 1, 4).getInt();
            if (all[at] != 0 || size < 0 || size > MESSAGE_BYTES_MAX) {
                throw new IOException("it sends a message that cannot be read");
            }
            if (all.length - at - 5 < size) {
                wanted = 5 + size;
                break;
            }
            messages.add(Arrays.copyOfRange(all, at + 5, at + 5 + size));
            at += 5 + size;
            wanted = 5;
        }
        if (at > 0) {
            received.reset();
            received.write(all, at, all.length - at);
        }
        if (counted > 0) {
            byte[] more = ByteBuffer.allocate(4).putInt(counted).array();
            synchronized (this) {
                frame(WINDOW_UPDATE, 0, 0, more);
                frame(WINDOW_UPDATE, 0, STREAM, more);
            }
        }
    }

    private void takeHeaders(ByteBuffer piece, int flags) throws IOException {
        headers.write(piece.array(), piece.position(), piece.remaining());
        if (headers.size() > HEADER_BYTES_MAX) {
            throw new IOException("it sends headers without end");
        }
        if ((flags & END_HEADERS) == 0) {
            return;
        }
        Map<String, String> fields = Hpack.read(headers.toByteArray());
        headers.reset();
        String status = fields.get("grpc-status");
        if (status != null) {
            throw new IOException(status.equals("0")
                    ? "it closed the stream"
                    : "it refuses: " + message(fields.getOrDefault("grpc-message", "status " + status)));
        }
        if (!fields.getOrDefault(":status", "200").equals("200")) {
            throw new IOException("it answers with status " + fields.get(":status")
                    + ": what listens there is not its discovery, perhaps");
        }
    }

    /** A message of gRPC is percent-encoded. */
    private static String message(String encoded) {
        try {
            return java.net.URLDecoder.decode(encoded.replace("+", "%2B"), "UTF-8");
        } catch (IllegalArgumentException | IOException notEncoded) {
            return encoded;
        }
    }

    private synchronized void takeSettings(ByteBuffer settings) throws IOException {
        while (settings.remaining() >= 6) {
            int name = settings.getShort();
            long value = settings.getInt() & 0xffffffffL;
            if (name == 4) {
                streamWindow += value - initialWindow;
                initialWindow = value;
            }
        }
        frame(SETTINGS, ACK, 0, new byte[0]);
        flush();
    }

    private synchronized void widen(int stream, int bytes) throws IOException {
        if (stream == 0) {
            connectionWindow += bytes;
        } else {
            streamWindow += bytes;
        }
        flush();
    }

    private synchronized void sendFrame(int type, int flags, byte[] payload) throws IOException {
        frame(type, flags, 0, payload);
    }

    private void frame(int type, int flags, int stream, byte[] payload) throws IOException {
        ByteBuffer frame = ByteBuffer.allocate(9 + payload.length);
        frame.put((byte) (payload.length >> 16)).putShort((short) payload.length);
        frame.put((byte) type).put((byte) flags).putInt(stream).put(payload);
        out.write(frame.array());
    }

    @Override
    public void close() {
        try {
            socket.close();
        } catch (IOException gone) {
            // There is nothing left to close.
        }
    }
}
