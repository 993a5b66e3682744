package io.laneway.samples.contract;

/** What B offers by Dubbo, in whichever of its protocols. */
public interface ServiceB {
    /** Where the call has been: B, and what it has called. */
    String b(String protocol);
}
