plugins {
    alias(libs.plugins.android.application)
}

android {
    namespace = "edgemtp.demo"
    compileSdk = 36

    defaultConfig {
        applicationId = "edgemtp.demo"
        minSdk = 31
        targetSdk = 36
        versionCode = 1
        versionName = "1.0.0"
    }

    // dry: a script plays the engine, so that everything else can be tried on any phone.
    flavorDimensions += "engine"
    productFlavors {
        create("full") {
            dimension = "engine"
            ndk { abiFilters += "arm64-v8a" }
        }
        create("dry") {
            dimension = "engine"
            applicationIdSuffix = ".dry"
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    lint {
        warningsAsErrors = false
        abortOnError = true
    }
}

dependencies {
    implementation(project(":core"))
    "fullImplementation"(libs.litertlm.android)
    "fullImplementation"(libs.coroutines.core)
}
