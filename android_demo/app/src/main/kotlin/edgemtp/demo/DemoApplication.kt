package edgemtp.demo

import android.app.Application
import android.content.Context
import android.os.Build
import android.os.SystemClock
import edgemtp.core.app.AppModel
import edgemtp.core.app.Surroundings
import edgemtp.core.device.DeviceFacts
import edgemtp.core.device.ThreadTime
import java.time.OffsetDateTime
import java.time.format.DateTimeFormatter
import java.time.temporal.ChronoUnit
import java.util.UUID
import java.util.concurrent.Executors

/** Holds what lives as long as the process: a rotation or a closed screen ends no run. */
class DemoApplication : Application() {
    /** The sensors, also for the screen's status line. */
    val probe: PhoneProbe by lazy { PhoneProbe(this) }

    /** The app without its screen. */
    val model: AppModel by lazy { AppModel(surroundings()) }

    override fun onCreate() {
        super.onCreate()
        model.start()
    }

    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        if (level <= TRIM_MEMORY_RUNNING_CRITICAL) model.memoryWarning()
    }

    private fun surroundings(): Surroundings {
        val directory = getExternalFilesDir(null) ?: filesDir
        val time = ThreadTime(SystemClock::elapsedRealtimeNanos)
        return Surroundings(
            directory = directory,
            time = time,
            probe = probe,
            facts = deviceFacts(this),
            engines = engineFactory(this, time),
            choice = RUNTIME_CHOICE,
            worker = Executors.newSingleThreadExecutor { Thread(it, "edge-mtp-worker") },
            wallTime = ::wallTime,
            newRun = { UUID.randomUUID().toString() },
            freeBytes = { directory.usableSpace },
        )
    }
}

private fun wallTime(): String =
    OffsetDateTime.now().truncatedTo(ChronoUnit.MILLIS).format(DateTimeFormatter.ISO_OFFSET_DATE_TIME)

private fun deviceFacts(context: Context): DeviceFacts =
    DeviceFacts(
        appVersion = context.packageManager.getPackageInfo(context.packageName, 0).versionName ?: "unknown",
        osVersion = Build.VERSION.RELEASE,
        model = "${Build.MANUFACTURER} ${Build.MODEL}",
        soc = "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}",
        ramBytes = memory(context).totalMem,
        cores = Runtime.getRuntime().availableProcessors(),
    )
