package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.List;

/** One instance of a service as callers reach it. Filled by whoever reads it, then left alone. */
public final class Endpoint {
    /** {@code ip:port} to connect to. */
    public String address = "";
    /** Whatever else means this instance: further addresses, and those of its application. */
    public final List<String> otherAddresses = new ArrayList<>();
    /** Empty for the base. */
    public String tag = "";
    /** Share among its peers; 0 takes nothing unless all are 0. */
    public long weight = 1;
    /** Healthy, of known tag, not draining. */
    public boolean usable = true;
}
