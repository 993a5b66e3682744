package io.laneway.samples.contract;

/** What C offers by Dubbo, in whichever of its protocols. */
public interface ServiceC {
    /** Where the call has been: C. */
    String c();
}
