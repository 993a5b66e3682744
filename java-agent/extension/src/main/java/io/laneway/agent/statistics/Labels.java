package io.laneway.agent.statistics;

import java.util.Objects;

/** What requests are counted together by. Numbers are those of {@code crates/api/proto/discovery.proto}. */
public final class Labels {
    /** Handed to this application. */
    public static final int INBOUND = 2;
    /** Of this application to others. */
    public static final int OUTBOUND = 3;
    /** Served by an instance of the lane. */
    public static final int LANE = 1;
    /** Served by one that the lane falls back to. */
    public static final int FALLBACK = 2;
    /** In no lane that governs the hop. */
    public static final int BASE = 3;
    /** Nobody was allowed to serve it. */
    public static final int DENIED = 4;
    /** It was sent, and not answered. */
    public static final int FAILED = 5;

    /** Which way. */
    public final int role;
    /** Who serves. */
    public final String application;
    /** By which name; empty where it is not known. */
    public final String service;
    /** The group that governs the hop; empty for none. */
    public final String group;
    /** The request's lane in it, by tag; empty for the base. */
    public final String lane;
    /** How the hop is served. */
    public final int outcome;
    /** 1 to 5; 0 without an answer. */
    public final int codeClass;
    private final int hash;

    /** All of them. */
    public Labels(int role, String application, String service, String group, String lane, int outcome, int codeClass) {
        this.role = role;
        this.application = application;
        this.service = service;
        this.group = group;
        this.lane = lane;
        this.outcome = outcome;
        this.codeClass = codeClass;
        hash = Objects.hash(role, application, service, group, lane, outcome, codeClass);
    }

    /** What stands for all those for which there is no room. */
    Labels others() {
        return new Labels(role, "others", "", "", "", outcome, codeClass);
    }

    @Override
    public boolean equals(Object other) {
        if (!(other instanceof Labels)) {
            return false;
        }
        Labels it = (Labels) other;
        return role == it.role && outcome == it.outcome && codeClass == it.codeClass && application.equals(it.application)
                && service.equals(it.service) && group.equals(it.group) && lane.equals(it.lane);
    }

    @Override
    public int hashCode() {
        return hash;
    }
}
