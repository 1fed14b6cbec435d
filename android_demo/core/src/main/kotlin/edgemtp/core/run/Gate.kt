package edgemtp.core.run

import edgemtp.core.device.Reading
import edgemtp.core.plan.GateLimits

/** Why a block should not start yet. */
enum class GateReason {
    /** The phone is hotter than the plan allows. */
    HOT,

    /** The battery is lower than the plan allows. */
    BATTERY_LOW,

    /** A charger is connected. */
    CHARGING,

    /** The phone saves power. */
    LOW_POWER,

    /** The app is not on the screen. */
    BACKGROUND,
}

/** What keeps the gate shut; empty: it is open. A sensor that the phone does not have shuts nothing. */
fun gateReasons(
    limits: GateLimits,
    reading: Reading,
    inBackground: Boolean,
): List<GateReason> =
    listOfNotNull(
        GateReason.HOT.takeIf { reading.thermal.let { it != null && it > limits.maxThermal } },
        GateReason.BATTERY_LOW.takeIf { reading.batteryLevel.let { it != null && it < limits.minBatteryLevel } },
        GateReason.CHARGING.takeIf { limits.unplugged && reading.charging == true },
        GateReason.LOW_POWER.takeIf { limits.lowPowerOff && reading.lowPowerMode == true },
        GateReason.BACKGROUND.takeIf { inBackground },
    )

/** How the gate in front of a block was passed: after [waitMs], open or ([passed] false) only because time was up. */
data class GatePassage(
    val waitMs: Long,
    val passed: Boolean,
)
