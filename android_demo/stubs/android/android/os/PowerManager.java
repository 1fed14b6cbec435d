package android.os;

public final class PowerManager {
    PowerManager() {}

    public native boolean isPowerSaveMode();

    public native int getCurrentThermalStatus();

    public native float getThermalHeadroom(int forecastSeconds);
}
