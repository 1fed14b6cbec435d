package edgemtp.core.log

import edgemtp.core.device.GaugeCalibration
import edgemtp.core.device.Reading
import edgemtp.core.device.microamperes
import edgemtp.core.device.thermalWord
import edgemtp.core.json.JsonObject
import edgemtp.core.json.jsonOf

/** What the phone is doing. */
enum class Phase(
    val word: String,
) {
    /** Nothing, before or after the run. */
    IDLE("idle"),

    /** Nothing, on purpose: it is measured. */
    BASELINE("baseline"),

    /** Loading an engine. */
    LOAD("load"),

    /** A prompt was sent, nothing has come back. */
    PREFILL("prefill"),

    /** A reply is coming. */
    DECODE("decode"),

    /** Waiting for the phone to cool, or for the gate. */
    COOLDOWN("cooldown"),
}

/** The fields of a `sample`; [railsMs] is the run's time at which the power monitors were read. */
fun sampleFields(
    phase: Phase,
    trial: Int?,
    reading: Reading,
    gauge: GaugeCalibration?,
    railsMs: Long?,
): JsonObject =
    jsonOf(
        "phase" to phase.word,
        "trial" to trial,
        "battery_level" to reading.batteryLevel,
        "charging" to reading.charging,
        "thermal" to reading.thermal,
        "thermal_raw" to thermalWord(reading.thermalStatus),
        "low_power_mode" to reading.lowPowerMode,
        "mem_footprint_bytes" to reading.memFootprintBytes,
        "mem_available_bytes" to reading.memAvailableBytes,
        "battery_current_raw" to reading.currentRaw,
        "battery_current_ua" to gauge.microamperes(reading.currentRaw),
        "battery_voltage_mv" to reading.voltageMv,
        "battery_temp_c" to reading.temperatureC,
        "battery_charge_uah" to reading.chargeUah,
        "battery_energy_nwh" to reading.energyNwh,
        "battery_age_ms" to reading.batteryAgeMs,
        "thermal_headroom" to reading.thermalHeadroom,
        "rails_uws" to reading.rails?.uws,
        "rails_t_ms" to railsMs,
    )
