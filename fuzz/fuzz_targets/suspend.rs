#![no_main]
stillframe_fuzz::target!(suspend);
