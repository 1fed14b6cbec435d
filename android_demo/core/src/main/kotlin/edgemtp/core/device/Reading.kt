package edgemtp.core.device

/** What the phone said at one moment, in its own units; null is "does not say". */
data class Reading(
    /** 0 to 1. */
    val batteryLevel: Double? = null,
    /** A charger is connected, whether or not the level rises. */
    val charging: Boolean? = null,
    /** Android's thermal status 0 to 6. */
    val thermalStatus: Int? = null,
    /** 1 is where severe throttling begins. */
    val thermalHeadroom: Double? = null,
    val lowPowerMode: Boolean? = null,
    val memFootprintBytes: Long? = null,
    val memAvailableBytes: Long? = null,
    /** As the gauge says it, whatever its unit and sign. */
    val currentRaw: Long? = null,
    val voltageMv: Double? = null,
    val temperatureC: Double? = null,
    val chargeUah: Long? = null,
    val energyNwh: Long? = null,
    /** Age of voltage and temperature, which Android caches. */
    val batteryAgeMs: Long? = null,
    /** Accumulated microwatt-seconds by power monitor. */
    val rails: Rails? = null,
) {
    /** The log's thermal level 0 to 3. */
    val thermal: Int? get() = thermalLevel(thermalStatus)

    /** Sensors that a run is the poorer without, by name, where the phone does not have them. */
    fun missingSensors(): List<String> =
        listOfNotNull(
            "battery level".takeIf { batteryLevel == null },
            "thermal status".takeIf { thermalStatus == null },
            "battery current".takeIf { currentRaw == null },
            "battery voltage".takeIf { voltageMv == null },
        )
}

/** Power monitors: [uws] microwatt-seconds by name, [takenAtNs] on the clock of [Time]. */
data class Rails(
    val uws: Map<String, Long>,
    val takenAtNs: Long,
)

/** The phone's sensors. */
interface DeviceProbe {
    /** What they say now. Headroom must not be asked for more often than every 2 s: [withHeadroom]. */
    fun read(withHeadroom: Boolean): Reading
}

/** What stays the same during a run. */
data class DeviceFacts(
    val appVersion: String,
    val osVersion: String,
    val model: String,
    val soc: String?,
    val ramBytes: Long,
    val cores: Int,
)
