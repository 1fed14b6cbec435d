package android.os;

public final class PowerMonitor {
    PowerMonitor() {}

    public native String getName();
}
