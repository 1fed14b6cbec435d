package android.os;

public final class PowerMonitorReadings {
    public static final int ENERGY_UNAVAILABLE = -1;

    PowerMonitorReadings() {}

    public native long getConsumedEnergy(PowerMonitor powerMonitor);

    public native long getTimestampMillis(PowerMonitor powerMonitor);
}
