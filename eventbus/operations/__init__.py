"""What an operator does with a bus, beside publishing and subscribing: one mixin of `EventBus` for each subject."""
