package io.laneway.agent.decision;

import java.util.List;

/** A request as rules see it. Every string is of bytes, one per char. */
public interface Request {
    /** The method, as sent. */
    String method();

    /** The host, lower-case, without port. */
    String host();

    /** The normalised path, without query. */
    String path();

    /** The raw query, without {@code ?}; empty when there is none. */
    String query();

    /** Who asks: four or sixteen bytes. */
    byte[] clientIp();

    /** All header fields in order, each a name and a value. */
    List<String[]> headers();

    /** The value of a claim of an authenticated caller; {@code null} where there is none. */
    String claim(String name);
}
