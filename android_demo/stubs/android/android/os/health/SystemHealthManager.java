package android.os.health;

import android.os.OutcomeReceiver;
import android.os.PowerMonitor;
import android.os.PowerMonitorReadings;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.function.Consumer;

public class SystemHealthManager {
    SystemHealthManager() {}

    public native void getSupportedPowerMonitors(Executor executor, Consumer<List<PowerMonitor>> onResult);

    public native void getPowerMonitorReadings(
        List<PowerMonitor> powerMonitors,
        Executor executor,
        OutcomeReceiver<PowerMonitorReadings, RuntimeException> onResult);
}
