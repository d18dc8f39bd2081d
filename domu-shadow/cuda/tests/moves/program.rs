//! The program that is moved: memory of all kinds, whose contents it knows.

use std::ptr::null_mut;

use xl_gpu_cuda::abi::*;

use crate::calls::ok;

/// Bytes of the memory of `cuMemAlloc`: the last is left to the driver.
const ORDINARY: [usize; 3] = [1_100_000, 1_050_003, 70_001];
const VIRTUAL: usize = 2 << 20;

/// A context, and memory in it.
pub struct Program {
    pieces: Vec<Piece>,
    state: u64,
}

struct Piece {
    at: CUdeviceptr,
    bytes: Vec<u8>,
}

impl Program {
    pub fn new() -> Program {
        Program::with(&ORDINARY)
    }

    /// With little in it: the interpreter takes its time.
    pub fn small() -> Program {
        Program::with(&ORDINARY[..1])
    }

    fn with(ordinary: &[usize]) -> Program {
        let (mut device, mut context) = (0, null_mut());
        ok!(cuInit(0));
        ok!(cuDeviceGet(&raw mut device, 0));
        ok!(cuDevicePrimaryCtxRetain(&raw mut context, device));
        ok!(cuCtxSetCurrent(context));
        let mut program = Program {
            pieces: Vec::new(),
            state: 88_172_645_463_325_252,
        };
        for &bytes in ordinary {
            let mut at = 0;
            ok!(cuMemAlloc_v2(&raw mut at, bytes));
            program.add(at, bytes);
        }
        program.map(device);
        program
    }

    /// Virtual memory, mapped whole.
    fn map(&mut self, device: CUdevice) {
        let location = CUmemLocation {
            kind: CU_MEM_LOCATION_TYPE_DEVICE,
            id: device,
        };
        let properties = CUmemAllocationProp {
            kind: CU_MEM_ALLOCATION_TYPE_PINNED,
            requested_handle_types: 0,
            location,
            win32_handle_meta_data: null_mut(),
            compression_type: 0,
            gpu_direct_rdma_capable: 0,
            usage: 0,
            reserved: [0; 4],
        };
        let (mut handle, mut at) = (0, 0);
        ok!(cuMemCreate(
            &raw mut handle,
            VIRTUAL,
            &raw const properties,
            0
        ));
        ok!(cuMemAddressReserve(&raw mut at, VIRTUAL, 0, 0, 0));
        ok!(cuMemMap(at, VIRTUAL, 0, handle, 0));
        let access = CUmemAccessDesc {
            location,
            flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        ok!(cuMemSetAccess(at, VIRTUAL, &raw const access, 1));
        self.add(at, VIRTUAL);
    }

    fn add(&mut self, at: CUdeviceptr, bytes: usize) {
        // A pattern of no period of the memory's own.
        let pattern: Vec<u8> = (0..1013)
            .flat_map(|_| self.random().to_le_bytes())
            .collect();
        let mut bytes = pattern.repeat(bytes.div_ceil(pattern.len()))[..bytes].to_vec();
        bytes[0] = self.pieces.len() as u8 + 1;
        ok!(cuMemcpyHtoD_v2(at, bytes.as_ptr().cast(), bytes.len()));
        self.pieces.push(Piece { at, bytes });
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// Writes a little everywhere, and zeros in one place.
    pub fn work(&mut self) {
        for index in 0..self.pieces.len() {
            let (at, value) = (self.random() as usize, self.random().to_le_bytes());
            let piece = &mut self.pieces[index];
            let at = at % (piece.bytes.len() - 8);
            piece.bytes[at..at + 8].copy_from_slice(&value);
            ok!(cuMemcpyHtoD_v2(
                piece.at + at as u64,
                value.as_ptr().cast(),
                8
            ));
            let zeros = at / 4096 * 4096..(at / 4096 * 4096 + 8192).min(piece.bytes.len());
            if index == 1 {
                piece.bytes[zeros.clone()].fill(0);
                ok!(cuMemsetD8_v2(piece.at + zeros.start as u64, 0, zeros.len()));
            }
        }
        ok!(cuCtxSynchronize());
    }

    /// That all memory is where it was, with what was written to it.
    pub fn check(&self) {
        for (index, piece) in self.pieces.iter().enumerate() {
            let mut bytes = vec![0_u8; piece.bytes.len()];
            ok!(cuMemcpyDtoH_v2(
                bytes.as_mut_ptr().cast(),
                piece.at,
                bytes.len()
            ));
            assert!(bytes == piece.bytes, "memory {index}");
        }
    }

    /// An address of memory that moves.
    pub fn first(&self) -> CUdeviceptr {
        self.pieces[0].at
    }

    /// Bytes of what moves.
    pub fn moving_bytes() -> u64 {
        (ORDINARY[0] + ORDINARY[1] + VIRTUAL) as u64
    }

    /// Frees one piece and gets another.
    pub fn renew(&mut self) {
        let is_second = |piece: &Piece| piece.bytes.len() == ORDINARY[1];
        let second = self.pieces.iter().position(is_second).unwrap();
        let piece = self.pieces.remove(second);
        ok!(cuMemFree_v2(piece.at));
        let (mut at, bytes) = (0, piece.bytes.len());
        ok!(cuMemAlloc_v2(&raw mut at, bytes));
        self.add(at, bytes);
    }
}
