package edgemtp.core.app

import edgemtp.core.device.Reading
import edgemtp.core.device.thermalWord
import edgemtp.core.run.GateReason
import edgemtp.core.run.Progress

/** Battery and heat of [reading] in one line for the screen; what the phone does not tell is left out. */
fun statusLine(reading: Reading): String =
    listOfNotNull(
        reading.batteryLevel?.let { "battery ${Math.round(it * 100)} %" },
        "charging".takeIf { reading.charging == true },
        reading.temperatureC?.let { "${Math.round(it * 10) / 10.0} °C" },
        thermalWord(reading.thermalStatus)?.let { "thermal $it" },
        reading.thermalHeadroom?.let { "headroom ${shown(it)}" },
        "power saving".takeIf { reading.lowPowerMode == true },
    ).joinToString(" · ")

/** A run's [progress] in one line for the screen. */
fun progressLine(progress: Progress?): String =
    if (progress == null) {
        "starting"
    } else {
        listOfNotNull(
            progress.phase.word,
            progress.pair?.let { "pair ${it + 1}" },
            progress.arm?.word,
            "${progress.trials} replies",
            progress.waitingFor.takeIf { it.isNotEmpty() }?.let {
                "waiting: ${it.joinToString(
                    transform = ::gateWords,
                )}"
            },
        ).joinToString(" · ")
    }

private fun gateWords(reason: GateReason): String =
    when (reason) {
        GateReason.HOT -> "the phone is hot"
        GateReason.BATTERY_LOW -> "the battery is low"
        GateReason.CHARGING -> "unplug the charger"
        GateReason.LOW_POWER -> "switch power saving off"
        GateReason.BACKGROUND -> "bring the app to the front"
    }
