// AGP 9 brings Kotlin along for :app; this says which Kotlin it is, and gives :core its plugin.
buildscript {
    repositories {
        google()
        mavenCentral()
    }
    dependencies {
        classpath(libs.kotlin.gradle.plugin)
    }
}

plugins {
    alias(libs.plugins.android.application) apply false
}
