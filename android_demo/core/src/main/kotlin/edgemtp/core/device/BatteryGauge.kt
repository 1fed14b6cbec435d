package edgemtp.core.device

import edgemtp.core.json.JsonObject
import edgemtp.core.json.jsonOf

/** Seconds of idling, unplugged, that unit and sign of the current are learnt from. */
const val CALIBRATION_S: Int = 30

private const val MIN_SAMPLES = 10
private const val MIN_SAME_SIGN = 0.9

/** 10 A is more than an idle phone draws, and 10 mA less: what lies above is in microamperes, what lies below in mA. */
private const val UNIT_BORDER = 10_000L

/** What the calibration says of the phone's current gauge. */
sealed interface GaugeCalibration {
    /** [unit] and [dischargeSign] are known; [idleUa] is what the idle phone drew, negative. */
    data class Known(
        val unit: GaugeUnit,
        val dischargeSign: Int,
        val samples: Int,
        val idleUa: Long,
    ) : GaugeCalibration

    /** They could not be told, and [reason] says why. */
    data class Unknown(
        val reason: String,
    ) : GaugeCalibration
}

/** Android's book says microamperes; some makers report milliamperes. */
enum class GaugeUnit(
    val word: String,
    val microamperes: Long,
) {
    /** By the book. */
    UA("ua", 1),

    /** A thousand times that. */
    MA("ma", 1000),
}

/** Unit and sign by the [readings] of an idle, unplugged phone, one a second. */
fun calibrateGauge(readings: List<Reading>): GaugeCalibration {
    val raw = readings.mapNotNull { it.currentRaw }.filter { it != 0L }
    val positive = raw.count { it > 0 }
    return when {
        readings.any { it.charging == true } -> GaugeCalibration.Unknown("a charger was connected")
        raw.size < MIN_SAMPLES -> GaugeCalibration.Unknown("the gauge gave ${raw.size} values, $MIN_SAMPLES are needed")
        maxOf(positive, raw.size - positive) < MIN_SAME_SIGN * raw.size -> GaugeCalibration.Unknown("the sign changed")
        else -> knownGauge(raw, if (positive * 2 > raw.size) 1 else -1)
    }
}

private fun knownGauge(
    raw: List<Long>,
    dischargeSign: Int,
): GaugeCalibration {
    val sizes = raw.map { Math.abs(it) }.sorted()
    val middle = sizes[sizes.size / 2]
    val unit = if (middle < UNIT_BORDER) GaugeUnit.MA else GaugeUnit.UA
    return GaugeCalibration.Known(unit, dischargeSign, raw.size, -middle * unit.microamperes)
}

/** [raw] in microamperes, negative while discharging; null while unit and sign are not known. */
fun GaugeCalibration?.microamperes(raw: Long?): Long? =
    if (this is GaugeCalibration.Known && raw != null) raw * unit.microamperes * -dischargeSign else null

/** The value of the log's `current_calibration` event. */
fun GaugeCalibration.toJson(): JsonObject =
    when (this) {
        is GaugeCalibration.Unknown -> {
            jsonOf("reason" to reason)
        }

        is GaugeCalibration.Known -> {
            jsonOf(
                "unit" to unit.word,
                "discharge_sign" to dischargeSign,
                "samples" to samples,
                "idle_ua" to idleUa,
            )
        }
    }
