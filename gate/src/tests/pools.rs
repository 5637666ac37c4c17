// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory of a fixed size, and programs that grow it.

use super::*;

/// A client with a pool: (client, compositor, pool).
fn with_pool(there: u64, claimed: i32) -> (Client, u32, u32) {
    let mut client = Client::new();
    let (compositor, shm) = (client.bind("wl_compositor"), client.bind("wl_shm"));
    let pool = client.ok(shm, "create_pool", &[New, Memory(there), I(claimed)]);
    client.passed();
    (client, compositor, pool)
}

#[test]
fn pool_beyond_its_memory() {
    let mut client = Client::new();
    let shm = client.bind("wl_shm");
    let told = client.breaks(
        Rule::PoolMemory,
        shm,
        "create_pool",
        &[New, Memory(4096), I(4097)],
    );
    assert_eq!((told.interface, told.code), ("wl_shm", 2));
}

#[test]
fn buffers_within_their_pool_pass_and_others_do_not() {
    let good: [[i32; 4]; 4] = [[0, 32, 32, 128], [0, 1, 1, 4], [4092, 1, 1, 4], [0, 4, 1, 4096]];
    for [offset, width, height, stride] in good {
        let (mut client, _, pool) = with_pool(4096, 4096);
        client.ok(
            pool,
            "create_buffer",
            &[New, I(offset), I(width), I(height), I(stride), U(1)],
        );
        assert_eq!(client.passed().len(), 1);
    }
    let max = i32::MAX;
    let bad: [[i32; 4]; 13] = [
        [-1, 1, 1, 4],
        [0, 0, 1, 4],
        [0, 1, 0, 4],
        [0, -1, 1, 4],
        [0, 2, 1, 7],
        [0, 2, 1, 9],
        [0, 2, 2, 10],
        [0, 1, 1, -4],
        [4093, 1, 1, 4],
        [4, 32, 32, 128],
        [max, 1, 1, 4],
        [0, 32_768, 1, max],
        [max, 30_000, 30_000, max],
    ];
    for [offset, width, height, stride] in bad {
        let (mut client, _, pool) = with_pool(4096, 4096);
        let args = [New, I(offset), I(width), I(height), I(stride), U(0)];
        client.breaks(Rule::BufferBounds, pool, "create_buffer", &args);
    }
}

#[test]
fn pool_that_grows_within_its_memory() {
    let (mut client, _, pool) = with_pool(8192, 4096);
    client.ok(pool, "resize", &[I(8192)]);
    client.ok(pool, "resize", &[I(8192)]);
    client.ok(pool, "create_buffer", &[New, I(4096), I(32), I(32), I(128), U(1)]);
    let passed = client.passed();
    assert_eq!(passed.len(), 2, "an equal size says nothing new: {passed:?}");
    assert_eq!(passed[0], format!("wl_shm_pool@{pool}.resize(8192)"));
}

/// A pool of 4096 bytes that its client has grown to 16384, and a buffer in the part that is not there.
fn short_pool() -> (Client, u32, u32, u32) {
    let (mut client, compositor, pool) = with_pool(4096, 4096);
    client.ok(pool, "resize", &[I(16_384)]);
    assert_eq!(
        client.passed(),
        [""; 0],
        "the compositor does not learn of the growth"
    );
    let buffer = client.ok(pool, "create_buffer", &[New, I(4096), I(32), I(32), I(128), U(1)]);
    assert_eq!(
        client.passed(),
        [format!("wl_shm_pool@{pool}.create_buffer({buffer},0,1,1,4,0)")]
    );
    (client, compositor, pool, buffer)
}

#[test]
fn cursor_theme_in_a_pool_that_grew() {
    let (mut client, compositor, pool, buffer) = short_pool();
    let seat = client.bind("wl_seat");
    let pointer = client.ok(seat, "get_pointer", &[New]);
    let surface = client.surface(compositor);
    client.ok(surface, "attach", &[U(buffer), I(0), I(0)]);
    client.ok(surface, "commit", &[]);
    client.ok(pointer, "set_cursor", &[U(1), U(surface), I(i32::MIN), I(3)]);
    client.ok(surface, "attach", &[U(buffer), I(0), I(0)]);
    client.ok(surface, "commit", &[]);
    client.ok(buffer, "destroy", &[]);
    // The part that is there is as good as ever.
    client.ok(pool, "create_buffer", &[New, I(0), I(32), I(32), I(128), U(1)]);
    client.ok(pool, "resize", &[I(20_000)]);
    assert_eq!(
        client.passed().last().unwrap(),
        &format!(
            "wl_shm_pool@{pool}.create_buffer({},0,32,32,128,1)",
            client.next - 1
        )
    );
}

#[test]
fn window_in_a_pool_that_grew() {
    let (mut client, compositor, _, buffer) = short_pool();
    let wm = client.bind("xdg_wm_base");
    let (surface, _, _) = client.window(compositor, wm);
    let told = client.breaks(Rule::GrownPool, surface, "attach", &[U(buffer), I(0), I(0)]);
    assert!(
        told.to_string().contains("virtio_wl memory has a fixed size"),
        "{told}"
    );
}

#[test]
fn role_for_a_surface_in_a_pool_that_grew() {
    for role in ["get_toplevel", "get_popup", "get_subsurface", "start_drag"] {
        let (mut client, compositor, _, buffer) = short_pool();
        let (wm, sub) = (client.bind("xdg_wm_base"), client.bind("wl_subcompositor"));
        let (manager, seat) = (client.bind("wl_data_device_manager"), client.bind("wl_seat"));
        let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
        let positioner = client.ok(wm, "create_positioner", &[New]);
        let (parent, parent_xdg, _) = client.window(compositor, wm);
        let surface = client.surface(compositor);
        client.ok(surface, "attach", &[U(buffer), I(0), I(0)]);
        match role {
            "get_subsurface" => client.breaks(Rule::GrownPool, sub, role, &[New, U(surface), U(parent)]),
            "start_drag" => client.breaks(
                Rule::GrownPool,
                device,
                role,
                &[U(0), U(parent), U(surface), U(1)],
            ),
            _ => {
                let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
                let args: &[A] = if role == "get_popup" {
                    &[New, U(parent_xdg), U(positioner)]
                } else {
                    &[New]
                };
                client.breaks(Rule::GrownPool, xdg, role, args)
            }
        };
    }
}

#[test]
fn another_buffer_makes_up_for_it() {
    let (mut client, compositor, pool, buffer) = short_pool();
    let wm = client.bind("xdg_wm_base");
    let whole = client.ok(pool, "create_buffer", &[New, I(0), I(32), I(32), I(128), U(1)]);
    let surface = client.surface(compositor);
    client.ok(surface, "attach", &[U(buffer), I(0), I(0)]);
    client.ok(surface, "attach", &[U(whole), I(0), I(0)]);
    let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    client.ok(xdg, "get_toplevel", &[New]);
    client.ok(surface, "attach", &[U(0), I(0), I(0)]);
    // An id that is used again is another buffer.
    client.destroy(buffer);
    let bytes = Writer::new(pool, 0)
        .uint(buffer)
        .int(0)
        .int(32)
        .int(32)
        .int(128)
        .uint(1)
        .finish();
    client.raw(&bytes, &mut VecDeque::new()).unwrap();
    client.ok(surface, "attach", &[U(buffer), I(0), I(0)]);
}

#[test]
fn pool_with_room_for_a_pixel() {
    let (mut client, _, pool) = with_pool(4, 4);
    client.ok(pool, "create_buffer", &[New, I(0), I(1), I(1), I(4), U(0)]);
    client.ok(pool, "resize", &[I(4096)]);
    let picture = client.ok(pool, "create_buffer", &[New, I(4), I(1), I(1), I(4), U(1)]);
    assert_eq!(
        client.passed().last(),
        Some(&format!("wl_shm_pool@{pool}.create_buffer({picture},0,1,1,4,0)"))
    );
}

#[test]
fn sizes_of_pools() {
    let whole = "is not memory of";
    for (there, size, rule, code) in [
        (4096, 0, Rule::PoolSize, 1),
        (4096, -1, Rule::PoolSize, 1),
        (0, 1, Rule::PoolMemory, 2),
        (4096, i32::MAX, Rule::PoolMemory, 2),
    ] {
        let mut client = Client::new();
        let shm = client.bind("wl_shm");
        let told = client.breaks(rule, shm, "create_pool", &[New, Memory(there), I(size)]);
        assert_eq!(
            (told.code, told.detail().contains(whole)),
            (code, code == 2),
            "{told}"
        );
    }
    for size in [4095, 0, -1, i32::MIN] {
        let (mut client, _, pool) = with_pool(4096, 4096);
        let told = client.breaks(Rule::PoolSize, pool, "resize", &[I(size)]);
        assert_eq!(told.code, 2);
    }
    // It may not shrink below what it said, whatever there was of it.
    let (mut client, _, pool) = with_pool(4096, 4096);
    client.ok(pool, "resize", &[I(8192)]);
    client.ok(pool, "resize", &[I(8192)]);
    client.breaks(Rule::PoolSize, pool, "resize", &[I(8191)]);
}

#[test]
fn two_bytes_a_pixel() {
    const RGB565: u32 = 0x3631_4752;
    for (stride, good) in [(64, true), (60, false)] {
        let (mut client, _, pool) = with_pool(4096, 4096);
        let shm = pool - 1;
        client.event(shm, "format", &[U(RGB565)]);
        let args = [New, I(0), I(32), I(1), I(stride), U(RGB565)];
        assert_eq!(client.send(pool, "create_buffer", &args).is_ok(), good);
    }
}

#[test]
fn pool_too_small_for_a_pixel() {
    let (mut client, _, pool) = with_pool(3, 3);
    client.ok(pool, "resize", &[I(4096)]);
    client.breaks(
        Rule::GrownPool,
        pool,
        "create_buffer",
        &[New, I(0), I(1), I(1), I(4), U(0)],
    );
}

#[test]
fn pool_keeps_one_descriptor_and_gives_it_back() {
    let (mut client, _, pool) = with_pool(4096, 4096);
    assert_eq!(client.out.descriptors(), 0);
    client.destroy(pool);
    let shm = client.bind("wl_shm");
    let bytes = Writer::new(shm, 0).uint(pool).int(4096).finish();
    client.raw(&bytes, &mut VecDeque::from([memory(4096)])).unwrap();
    assert_eq!(client.out.descriptors(), 1);
}
